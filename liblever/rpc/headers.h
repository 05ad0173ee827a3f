// A list of header fields, as HTTP/2 carries them: lower-case names, bytes as values, order kept.
//
// The text lies in one growing buffer, the fields are offsets into it: a warm list is filled
// without an allocation. Views that it gives are valid until the list is changed, and so are no
// arguments for Add() of the same list. Not thread-safe.
#ifndef LIBLEVER_RPC_HEADERS_H_
#define LIBLEVER_RPC_HEADERS_H_

#include <boost/container/small_vector.hpp>
#include <boost/container/vector.hpp>
#include <cstdint>
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
  void Add(std::string_view name, std::string_view value, Indexing indexing = Indexing::kAllowed);
  void Clear() {
    text_.clear();
    fields_.clear();
  }
  // Clear() for a list that is kept for reuse: gives memory beyond kPooledHeaderBytesMax back.
  void Recycle();
  size_t size() const { return fields_.size(); }
  bool empty() const { return fields_.empty(); }
  HeaderView operator[](size_t index) const {
    const Field& field = fields_[index];
    const char* const name = text_.data() + field.begin;
    return {{name, field.name_size}, {name + field.name_size, field.value_size}, field.indexing};
  }
  // The first field of that name.
  std::optional<std::string_view> Find(std::string_view name) const;
  // RFC 9113 section 6.5.2: name + value + 32 for each field.
  size_t AccountedBytes() const { return text_.size() + 32 * fields_.size(); }

 private:
  struct Field {
    uint32_t begin;
    uint32_t name_size;
    uint32_t value_size;
    Indexing indexing;
  };
  boost::container::vector<char> text_;
  boost::container::small_vector<Field, 8> fields_;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_HEADERS_H_
