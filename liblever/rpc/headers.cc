#include "liblever/rpc/headers.h"

#include "liblever/rpc/limits.h"

namespace lever::rpc {

void HeaderList::Add(std::string_view name, std::string_view value, Indexing indexing) {
  fields_.push_back(Field{static_cast<uint32_t>(text_.size()), static_cast<uint32_t>(name.size()),
                          static_cast<uint32_t>(value.size()), indexing});
  text_.append(name).append(value);
}

std::optional<std::string_view> HeaderList::Find(std::string_view name) const {
  for (size_t index = 0; index < fields_.size(); ++index) {
    const HeaderView field = (*this)[index];
    if (field.name == name) return field.value;
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
