#include "liblever/rpc/headers.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "liblever/rpc/limits.h"

namespace lever::rpc {
namespace {

// The headers of most calls fit.
constexpr size_t kTextBytesFirst = 256;

}  // namespace

void HeaderList::Reserve(size_t bytes) {
  // Of more than is needed: the next fields follow.
  const size_t capacity = std::max(2 * bytes, kTextBytesFirst);
  auto text = std::make_unique_for_overwrite<char[]>(capacity);
  if (text_size_ != 0) std::memcpy(text.get(), text_.get(), text_size_);
  text_ = std::move(text);
  text_capacity_ = static_cast<uint32_t>(capacity);
}

HeaderList& HeaderList::operator=(const HeaderList& other) {
  if (this == &other) return *this;
  Clear();
  if (other.text_size_ != 0) {
    std::memcpy(Grow(other.text_size_), other.text_.get(), other.text_size_);
  }
  fields_ = other.fields_;
  bytes_ = other.bytes_;
  return *this;
}

void HeaderList::Swap(HeaderList& other) noexcept {
  text_.swap(other.text_);
  std::swap(text_size_, other.text_size_);
  std::swap(text_capacity_, other.text_capacity_);
  std::swap(bytes_, other.bytes_);
  fields_.swap(other.fields_);
}

std::optional<std::string_view> HeaderList::Find(std::string_view name) const {
  const char* const text = text_.get();
  for (const Field& field : fields_) {
    if (field.name_size != name.size()) continue;
    const char* const at = text + field.begin;
    if (std::memcmp(at, name.data(), name.size()) == 0) {
      return std::string_view(at + name.size(), field.value_size);
    }
  }
  return std::nullopt;
}

void HeaderList::Recycle() {
  Clear();
  if (text_capacity_ <= kPooledHeaderBytesMax) return;
  text_.reset();
  text_capacity_ = 0;
  fields_.shrink_to_fit();
}

}  // namespace lever::rpc
