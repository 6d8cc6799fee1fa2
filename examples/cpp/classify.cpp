// Classify pictures with an ONNX export in onnxruntime: classify EXPORT PICTURE ...
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <numeric>

#include "steps.hpp"

namespace fs = std::filesystem;
using nlohmann::json;

const size_t SHOWN = 5;

// Returns what preprocessing.json says of the export in a folder, which has to be in the format onnx.
json read(const fs::path& folder) {
  std::ifstream stream(folder / "preprocessing.json");
  if (!stream) throw std::runtime_error("no preprocessing.json in it, so not an export");
  json description = json::parse(stream);
  const std::string format = description.at("format");
  if (format != "onnx") throw std::runtime_error("its format is " + format + ", expected onnx");
  if (!description.contains("steps")) throw std::runtime_error("an older export, without steps: export again");
  if (description.value("task", "") == "features")
    throw std::runtime_error("it returns feature maps, expected classes: export without --features");
  return description;
}

// Runs the program of a session: float32 of any shape -> float32 [1, classes].
cv::Mat run(Ort::Session& session, cv::Mat x, const std::string& input, const std::string& output) {
  const std::vector<int64_t> shape(x.size.p, x.size.p + x.dims);
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto images = Ort::Value::CreateTensor<float>(memory, x.ptr<float>(), x.total(), shape.data(), shape.size());
  const char *inputs[] = {input.c_str()}, *outputs[] = {output.c_str()};
  auto results = session.Run(Ort::RunOptions{}, inputs, &images, 1, outputs, 1);
  const int classes = static_cast<int>(results[0].GetTensorTypeAndShapeInfo().GetElementCount());
  return cv::Mat(1, classes, CV_32F, results[0].GetTensorMutableData<float>()).clone();
}

// Prints the likeliest classes, the most likely first.
void print(const cv::Mat& probabilities, const json& names) {
  std::vector<size_t> order(probabilities.total());
  std::iota(order.begin(), order.end(), 0);
  const float* p = probabilities.ptr<float>();
  std::stable_sort(order.begin(), order.end(), [p](size_t a, size_t b) { return p[a] > p[b]; });
  order.resize(std::min(order.size(), SHOWN));
  for (const size_t i : order) {
    const std::string name = names.is_null() ? "class " + std::to_string(i) : names.at(i).get<std::string>();
    std::printf("  %.5f  %s\n", p[i], name.c_str());
  }
}

int main(int count, char** arguments) {
  if (count < 3) {
    std::cerr << "usage: classify EXPORT PICTURE ...\n";
    return 2;
  }
  fs::path about = arguments[1];
  try {
    const json description = read(about);
    Ort::Env env(ORT_LOGGING_LEVEL_ERROR);
    Ort::Session session(env, (about / "inference.onnx").c_str(), Ort::SessionOptions{});
    using namespace std::placeholders;
    const Run program = std::bind(run, std::ref(session), _1, _2, _3);
    for (int i = 2; i < count; ++i) {
      about = arguments[i];
      const cv::Mat probabilities = follow(description.at("steps"), about, program);
      std::printf("%s\n", about.string().c_str());
      print(probabilities, description.at("classes"));
    }
  } catch (const std::exception& error) {
    std::cerr << about.string() << ": " << error.what() << "\n";
    return 2;
  }
}
