// Runs a fuzz target on a corpus: every input of the files that it is given, one a line, as
// hexadecimal digits; lines that begin with '#' say something of those that follow.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

namespace {

std::optional<std::vector<uint8_t>> FromHex(const std::string& line) {
  if (line.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  for (size_t at = 0; at < line.size(); at += 2) {
    const std::string digits = line.substr(at, 2);
    if (digits.find_first_not_of("0123456789abcdef") != std::string::npos) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(std::stoi(digits, nullptr, 16)));
  }
  return bytes;
}

// How many inputs the file has; -1 if it cannot be read.
int Replay(const char* name) {
  std::ifstream file(name);
  if (!file) return -1;
  int inputs = 0;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.starts_with('#')) continue;
    const auto bytes = FromHex(line);
    if (!bytes) {
      std::fprintf(stderr, "%s:%d: not hexadecimal\n", name, number);
      return -1;
    }
    // Where it ends, if it ends the process.
    std::fprintf(stderr, "%s:%d\r", name, number);
    LLVMFuzzerTestOneInput(bytes->data(), bytes->size());
    ++inputs;
  }
  return inputs;
}

}  // namespace

int main(int argc, char** argv) {
  int inputs = 0;
  for (int i = 1; i < argc; ++i) {
    const int count = Replay(argv[i]);
    if (count < 0) {
      std::fprintf(stderr, "%s: no corpus\n", argv[i]);
      return 2;
    }
    inputs += count;
  }
  std::printf("\n%d inputs\n", inputs);
  return inputs > 0 ? 0 : 2;
}
