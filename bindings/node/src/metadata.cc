#include "metadata.h"

#include <algorithm>
#include <cstring>

namespace lever::node {
namespace {

constexpr size_t kNameLengthBytes = 2;
constexpr size_t kValueLengthBytes = 4;

uint8_t* PutLength(uint8_t* out, size_t length, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) *out++ = static_cast<uint8_t>(length >> (8 * i));
  return out;
}

// A length and as many bytes; false if they are not there.
bool Take(const uint8_t** data, size_t* left, size_t length_bytes, const char** text,
          size_t* text_size) {
  if (*left < length_bytes) return false;
  size_t length = 0;
  for (size_t i = 0; i < length_bytes; ++i) length |= size_t{(*data)[i]} << (8 * i);
  *data += length_bytes;
  *left -= length_bytes;
  if (*left < length) return false;
  *text = reinterpret_cast<const char*>(*data);
  *text_size = length;
  *data += length;
  *left -= length;
  return true;
}

}  // namespace

size_t MetadataBytes(const lever_metadata* fields, size_t count) {
  size_t bytes = 0;
  for (size_t i = 0; i < count; ++i) {
    bytes += kNameLengthBytes + fields[i].name_size + kValueLengthBytes + fields[i].value_size;
  }
  return bytes;
}

void WriteMetadata(const lever_metadata* fields, size_t count, uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    out = PutLength(out, fields[i].name_size, kNameLengthBytes);
    out = std::copy_n(fields[i].name, fields[i].name_size, out);
    out = PutLength(out, fields[i].value_size, kValueLengthBytes);
    out = std::copy_n(fields[i].value, fields[i].value_size, out);
  }
}

bool ReadMetadata(const uint8_t* data, size_t size, std::vector<lever_metadata>* out) {
  while (size > 0) {
    lever_metadata field{};
    if (!Take(&data, &size, kNameLengthBytes, &field.name, &field.name_size)) return false;
    if (!Take(&data, &size, kValueLengthBytes, &field.value, &field.value_size)) return false;
    out->push_back(field);
  }
  return true;
}

}  // namespace lever::node
