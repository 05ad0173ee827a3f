#include "liblever/rpc/percent.h"

#include <cstdint>

#include "liblever/value/utf8.h"

namespace lever::rpc {
namespace {

constexpr char kHexDigits[] = "0123456789ABCDEF";

bool IsPlain(char byte) { return byte >= 0x20 && byte <= 0x7e && byte != '%'; }

bool IsContinuation(char byte) { return (static_cast<uint8_t>(byte) & 0xc0) == 0x80; }

int HexValue(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
  if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
  return -1;
}

// The end of the character that begins at `begin`.
size_t CharacterEnd(std::string_view text, size_t begin) {
  size_t end = begin + 1;
  while (end < text.size() && end < begin + 4 && IsContinuation(text[end])) ++end;
  return end;
}

}  // namespace

std::string EncodeGrpcMessage(std::string_view message) {
  std::string encoded;
  encoded.reserve(message.size());
  for (size_t at = 0; at < message.size();) {
    if (IsPlain(message[at])) {
      if (encoded.size() == kGrpcMessageEncodedBytesMax) break;
      encoded.push_back(message[at++]);
      continue;
    }
    const size_t end = CharacterEnd(message, at);
    if (encoded.size() + 3 * (end - at) > kGrpcMessageEncodedBytesMax) break;
    for (; at < end; ++at) {
      const uint8_t byte = static_cast<uint8_t>(message[at]);
      encoded.append({'%', kHexDigits[byte >> 4], kHexDigits[byte & 15]});
    }
  }
  return encoded;
}

std::string DecodeGrpcMessage(std::string_view text) {
  std::string message;
  message.reserve(text.size());
  for (size_t at = 0; at < text.size(); ++at) {
    const int high = text[at] == '%' && text.size() - at > 2 ? HexValue(text[at + 1]) : -1;
    const int low = high >= 0 ? HexValue(text[at + 2]) : -1;
    if (low < 0) {
      message.push_back(text[at]);
      continue;
    }
    message.push_back(static_cast<char>(high << 4 | low));
    at += 2;
  }
  if (value::IsUtf8(message)) return message;
  message = text;
  for (char& byte : message) {
    if (static_cast<uint8_t>(byte) >= 0x80) byte = '?';
  }
  return message;
}

}  // namespace lever::rpc
