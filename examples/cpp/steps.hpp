// The steps in an export's preprocessing.json, followed with OpenCV.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <opencv2/core.hpp>
#include <string>

// Runs the program: an array, the names of its input and its output -> logits.
using Run = std::function<cv::Mat(const cv::Mat&, const std::string&, const std::string&)>;

// Returns the class probabilities of a picture's file. Throws std::exception if a step is not known, or the file is no
// picture that OpenCV reads.
cv::Mat follow(const nlohmann::json& steps, const std::filesystem::path& picture, const Run& run);
