// A list of header fields, as HTTP/2 carries them: lower-case names, bytes as values, order kept.
//
// The text lies in one growing buffer, the fields are offsets into it: a warm list is filled
// without an allocation. Views that it gives are valid until the list is changed, and so are no
// arguments for Add() of the same list. Not thread-safe.
#ifndef LIBLEVER_RPC_HEADERS_H_
#define LIBLEVER_RPC_HEADERS_H_

#include <boost/container/small_vector.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string_view>

namespace lever::rpc {

// Whether HPACK may put the field into its table.
enum class Indexing : uint8_t { kAllowed, kNever };

struct HeaderView {
  std::string_view name;
  std::string_view value;
  Indexing indexing;
};

class HeaderList {
 public:
  HeaderList() = default;
  HeaderList(const HeaderList& other) { *this = other; }
  HeaderList(HeaderList&& other) noexcept { Swap(other); }
  HeaderList& operator=(const HeaderList& other);
  HeaderList& operator=(HeaderList&& other) noexcept {
    Swap(other);
    return *this;
  }
  ~HeaderList() = default;

  void Add(std::string_view name, std::string_view value, Indexing indexing = Indexing::kAllowed) {
    const size_t bytes = name.size() + value.size();
    fields_.push_back(Field{text_size_, static_cast<uint32_t>(name.size()),
                            static_cast<uint32_t>(value.size()), indexing});
    bytes_ += bytes;
    char* const at = Grow(bytes);
    // An empty view may have no address.
    if (!name.empty()) std::memcpy(at, name.data(), name.size());
    if (!value.empty()) std::memcpy(at + name.size(), value.data(), value.size());
  }
  // Adds those fields of another list whose names `keep` takes, in one copy of its text.
  template <typename Keep>
  void AddFrom(const HeaderList& other, Keep keep);
  void Swap(HeaderList& other) noexcept;
  void Clear() {
    text_size_ = 0;
    fields_.clear();
    bytes_ = 0;
  }
  // Clear() for a list that is kept for reuse: gives memory beyond kPooledHeaderBytesMax back.
  void Recycle();
  size_t size() const { return fields_.size(); }
  bool empty() const { return fields_.empty(); }
  HeaderView operator[](size_t index) const {
    const Field& field = fields_[index];
    const char* const name = text_.get() + field.begin;
    return {{name, field.name_size}, {name + field.name_size, field.value_size}, field.indexing};
  }
  // The first field of that name.
  std::optional<std::string_view> Find(std::string_view name) const;
  // RFC 9113 section 6.5.2: name + value + 32 for each field.
  size_t AccountedBytes() const { return bytes_ + 32 * fields_.size(); }

 private:
  struct Field {
    uint32_t begin;
    uint32_t name_size;
    uint32_t value_size;
    Indexing indexing;
  };
  // Room for so many bytes more, which the caller fills.
  char* Grow(size_t by) {
    const size_t end = text_size_ + by;
    if (end > text_capacity_) Reserve(end);
    char* const at = text_.get() + text_size_;
    text_size_ = static_cast<uint32_t>(end);
    return at;
  }
  void Reserve(size_t bytes);

  std::unique_ptr<char[]> text_;
  uint32_t text_size_ = 0;
  uint32_t text_capacity_ = 0;
  size_t bytes_ = 0;  // of the names and values; the text may hold more than the fields refer to
  boost::container::small_vector<Field, 8> fields_;
};

template <typename Keep>
void HeaderList::AddFrom(const HeaderList& other, Keep keep) {
  const uint32_t base = text_size_;
  if (other.text_size_ != 0) {
    std::memcpy(Grow(other.text_size_), other.text_.get(), other.text_size_);
  }
  const size_t before = fields_.size();
  fields_.resize(before + other.fields_.size(), boost::container::default_init);
  Field* out = fields_.data() + before;
  for (const Field& field : other.fields_) {
    if (!keep(std::string_view(other.text_.get() + field.begin, field.name_size))) continue;
    *out = field;
    out->begin += base;
    ++out;
    bytes_ += field.name_size + field.value_size;
  }
  fields_.resize(static_cast<size_t>(out - fields_.data()), boost::container::default_init);
}

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_HEADERS_H_
