#include "liblever/rpc/headers.h"

#include <algorithm>
#include <cstring>

#include "liblever/rpc/limits.h"

namespace lever::rpc {
namespace {

// The headers of most calls fit.
constexpr size_t kTextBytesFirst = 256;

}  // namespace

void HeaderList::Add(std::string_view name, std::string_view value, Indexing indexing) {
  const size_t begin = text_.size();
  fields_.push_back(Field{static_cast<uint32_t>(begin), static_cast<uint32_t>(name.size()),
                          static_cast<uint32_t>(value.size()), indexing});
  const size_t end = begin + name.size() + value.size();
  // Of more than is needed: the next fields follow.
  if (end > text_.capacity()) text_.reserve(std::max(2 * end, kTextBytesFirst));
  text_.resize(end, boost::container::default_init);
  // An empty view may have no address.
  if (!name.empty()) std::memcpy(text_.data() + begin, name.data(), name.size());
  if (!value.empty()) std::memcpy(text_.data() + begin + name.size(), value.data(), value.size());
}

std::optional<std::string_view> HeaderList::Find(std::string_view name) const {
  const char* const text = text_.data();
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
  if (text_.capacity() <= kPooledHeaderBytesMax) return;
  text_.shrink_to_fit();
  fields_.shrink_to_fit();
}

}  // namespace lever::rpc
