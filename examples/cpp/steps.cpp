#include "steps.hpp"

#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <stdexcept>
#include <vector>

using nlohmann::json;

namespace {

const std::map<std::string, int> INTERPOLATION = {{"area", cv::INTER_AREA}, {"linear", cv::INTER_LINEAR}};
const std::map<std::string, int> DEPTH = {{"uint8", CV_8U}, {"float32", CV_32F}};

// Throws unless a step says what this program does.
void expect(const json& step, const char* key, const json& value) {
  if (step.at(key) != value) throw std::invalid_argument("a step that is not known: " + step.dump());
}

// 8 or 16 bits per channel and transparency, BGRA -> 8 bits, BGR, over white.
cv::Mat over_white(cv::Mat picture) {
  if (picture.depth() == CV_16U) picture.convertTo(picture, CV_8U, 1 / 256.0, -0.498);  // their high bytes
  cv::Mat result(picture.size(), CV_8UC3);
  for (int row = 0; row < picture.rows; ++row)
    for (int column = 0; column < picture.cols; ++column) {
      const auto& pixel = picture.at<cv::Vec4b>(row, column);
      for (int channel = 0; channel < 3; ++channel)
        result.at<cv::Vec3b>(row, column)[channel] = (pixel[channel] * pixel[3] + 255 * (255 - pixel[3]) + 127) / 255;
    }
  return result;
}

cv::Mat decode(const std::filesystem::path& file, const json& step) {
  expect(step, "color", "RGB");
  expect(step, "upright_by", "EXIF");
  expect(step, "transparency_over", "white");
  std::ifstream stream(file, std::ios::binary);
  if (!stream) throw std::runtime_error("no such file, or not readable");
  const std::vector<uchar> bytes((std::istreambuf_iterator<char>(stream)), {});
  // As it is stored: with all bits and transparency, but not turned.
  cv::Mat picture = bytes.empty() ? cv::Mat() : cv::imdecode(bytes, cv::IMREAD_UNCHANGED);
  if (picture.empty()) throw std::runtime_error("not a picture that this OpenCV reads");
  // Without transparency OpenCV reads 8 bits per channel, and turns as EXIF says.
  picture = picture.channels() == 4 ? over_white(picture) : cv::imdecode(bytes, cv::IMREAD_COLOR);
  cv::cvtColor(picture, picture, cv::COLOR_BGR2RGB);
  return picture;
}

cv::Mat crop(const cv::Mat& x, const json& step) {
  expect(step, "to", "middle square");
  const int side = std::min(x.rows, x.cols);
  return x(cv::Rect((x.cols - side) / 2, (x.rows - side) / 2, side, side));
}

cv::Mat resize(cv::Mat x, const json& step) {
  const int height = step.at("size").at(0), width = step.at("size").at(1);
  const std::string interpolation = step.at(x.rows > height ? "shrink" : "enlarge");
  x.convertTo(x, DEPTH.at(step.at("computed_in")));
  cv::resize(x, x, cv::Size(width, height), 0, 0, INTERPOLATION.at(interpolation));
  if (step.contains("floor_after_adding")) {
    const float added = step.at("floor_after_adding");
    x.forEach<cv::Vec3f>([added](cv::Vec3f& pixel, const int*) {
      for (float& level : pixel.val) level = std::floor(level + added);
    });
  }
  return x;
}

cv::Mat scale(cv::Mat x, const json& step) {
  x.convertTo(x, CV_64F);
  return x / step.at("divide_by").get<double>();
}

cv::Mat normalize(const cv::Mat& x, const json& step) {
  const auto mean = step.at("mean").get<std::vector<double>>(), std = step.at("std").get<std::vector<double>>();
  return (x - cv::Scalar(mean.at(0), mean.at(1), mean.at(2))) / cv::Scalar(std.at(0), std.at(1), std.at(2));
}

// [height, width] of 3 channels -> [3, height, width].
cv::Mat transpose(const cv::Mat& x, const json& step) {
  expect(step, "axes", {2, 0, 1});
  cv::Mat planes(std::vector<int>{x.channels(), x.rows, x.cols}, x.depth());
  for (int channel = 0; channel < x.channels(); ++channel)
    cv::extractChannel(x, cv::Mat(x.size(), x.depth(), planes.ptr(channel)), channel);
  return planes;
}

cv::Mat cast(cv::Mat x, const json& step) {
  x.convertTo(x, DEPTH.at(step.at("dtype")));
  return x;
}

cv::Mat batch(const cv::Mat& x, const json& step) {
  expect(step, "axis", 0);
  return x.reshape(1, {1, x.size[0], x.size[1], x.size[2]});
}

cv::Mat softmax(const cv::Mat& x, const json& step) {
  expect(step, "axis", 1);
  double largest;
  cv::minMaxLoc(x, nullptr, &largest);
  cv::Mat probabilities;
  cv::exp((x - largest) / step.at("temperature").get<double>(), probabilities);
  return probabilities / cv::sum(probabilities)[0];
}

}  // namespace

cv::Mat follow(const json& steps, const std::filesystem::path& picture, const Run& run) {
  cv::Mat x;
  for (const json& step : steps) {
    const std::string op = step.at("op");
    if (op == "decode") x = decode(picture, step);
    else if (op == "crop") x = crop(x, step);
    else if (op == "resize") x = resize(x, step);
    else if (op == "scale") x = scale(x, step);
    else if (op == "normalize") x = normalize(x, step);
    else if (op == "transpose") x = transpose(x, step);
    else if (op == "cast") x = cast(x, step);
    else if (op == "batch") x = batch(x, step);
    else if (op == "run") x = run(x, step.at("input"), step.at("output"));
    else if (op == "softmax") x = softmax(x, step);
    else throw std::invalid_argument("a step that is not known: " + step.dump());
  }
  return x;
}
