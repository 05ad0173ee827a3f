// Reading tests/vectors: one file as a parsed document, and the bytes of its entries.
#ifndef TESTS_VECTORS_VECTORS_H_
#define TESTS_VECTORS_VECTORS_H_

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

namespace lever::vectors {

inline nlohmann::json LoadVectors(const std::string& name) {
  std::ifstream file(std::string(LEVER_SOURCE_DIR "/tests/vectors/") + name);
  return nlohmann::json::parse(file);
}

inline std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (size_t at = 0; at + 1 < hex.size(); at += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(at, 2), nullptr, 16)));
  }
  return bytes;
}

inline std::string ToHex(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex.push_back(kDigits[byte >> 4]);
    hex.push_back(kDigits[byte & 15]);
  }
  return hex;
}

// An input: a string, or {"hex", "times", "then", "then_times"}.
inline std::string InputOf(const nlohmann::json& entry) {
  if (entry.is_string()) return entry.get<std::string>();
  std::string bytes;
  const std::string unit = FromHex(entry.at("hex"));
  for (int i = entry.value("times", 1); i > 0; --i) bytes.append(unit);
  const std::string then = FromHex(entry.value("then", ""));
  for (int i = entry.value("then_times", 1); i > 0; --i) bytes.append(then);
  return bytes;
}

}  // namespace lever::vectors

#endif  // TESTS_VECTORS_VECTORS_H_
