#include "liblever/host/gateway/http1_parser.h"

#include <algorithm>
#include <array>
#include <boost/beast/http/basic_parser.hpp>
#include <optional>
#include <string>

#include "liblever/host/gateway/http_limits.h"
#include "liblever/rpc/counters.h"

namespace lever::gateway {
namespace {

namespace http = boost::beast::http;
using boost::beast::string_view;
using boost::system::error_code;

constexpr std::string_view kHeadEnd = "\r\n\r\n";
// The least that can follow where a chunk's head is due: the last chunk.
constexpr size_t kChunkHeadBytesMin = 5;

std::string_view View(string_view text) { return {text.data(), text.size()}; }

// Names up to here are put into small letters without an allocation.
constexpr size_t kShortNameBytes = 48;

char Small(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), Small);
  return lower;
}

// Whether all lines of `head` end in CRLF, and none continues the one before. What is before `from`
// was looked at already.
bool LinesAreClean(std::string_view head, size_t from) {
  for (size_t i = from; i < head.size(); ++i) {
    if (head[i] == '\r' && i + 1 < head.size() && head[i + 1] != '\n') return false;
    if (head[i] != '\n') continue;
    if (i == 0 || head[i - 1] != '\r') return false;
    if (i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t')) return false;
  }
  return true;
}

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// What is read out of a request.
class RequestEvents {
 public:
  virtual void OnRequest(std::string_view method, std::string_view target, bool http_1_0) = 0;
  // False: one field too many.
  virtual bool OnField(std::string_view name, std::string_view value) = 0;
  virtual void OnChunk(uint64_t size) = 0;
  virtual void OnBody(std::string_view piece) = 0;

 protected:
  ~RequestEvents() = default;
};

// Beast's parser, which cannot be used twice: it is made anew for each request, in the same place.
class Reader final : public http::basic_parser<true> {
 public:
  explicit Reader(RequestEvents* events) : events_(events) {
    header_limit(static_cast<uint32_t>(kHttp1HeadBytesMax));
    body_limit(boost::none);  // the handler's own
  }

 private:
  void on_request_impl(http::verb, string_view verb, string_view target, int version,
                       error_code&) override {
    events_->OnRequest(View(verb), View(target), version == 10);
  }
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(http::field, string_view name, string_view value, error_code& ec) override {
    if (!events_->OnField(View(name), View(value))) ec = http::error::header_limit;
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(string_view piece, error_code&) override {
    events_->OnBody(View(piece));
    return piece.size();
  }
  void on_chunk_header_impl(uint64_t size, string_view, error_code&) override {
    events_->OnChunk(size);
  }
  size_t on_chunk_body_impl(uint64_t, string_view piece, error_code&) override {
    events_->OnBody(View(piece));
    return piece.size();
  }
  void on_finish_impl(error_code&) override {}

  RequestEvents* events_;
};

}  // namespace

class Http1Parser::Impl final : private RequestEvents {
 public:
  Impl() { reader_.emplace(static_cast<RequestEvents*>(this)); }

  Result Next(std::string_view input);
  // Back to how it was made, keeping the memory of the head.
  void Reset();
  bool begun() const { return searched_ > 0; }
  bool keep_alive() const { return reader_->keep_alive(); }
  Result Broken(int http_status, std::string message) {
    error = InvalidArgument(std::move(message)).WithExecuted(LEVER_EXECUTED_NO);
    error_http_status = http_status;
    return {Step::kBroken, 0};
  }

  rpc::HeaderList head;
  std::string_view body;
  Status error;
  int error_http_status = 400;
  bool http_1_0 = false;
  bool has_body = false;

 private:
  enum class Phase : uint8_t { kHead, kBody, kEnded, kBroken };

  Result NextOfHead(std::string_view input);
  Result NextOfBody(std::string_view input);
  // Empty if the head makes sense; then :authority is added to it.
  std::string CheckHead();

  void OnRequest(std::string_view method, std::string_view target, bool version_1_0) override;
  bool OnField(std::string_view name, std::string_view value) override;
  void OnChunk(uint64_t size) override { chunk_left_ = size; }
  void OnBody(std::string_view piece) override {
    body = piece;
    chunk_left_ -= std::min<uint64_t>(chunk_left_, piece.size());
  }

  std::optional<Reader> reader_;
  Phase phase_ = Phase::kHead;
  size_t searched_ = 0;  // of the head, for its end
  size_t blank_ = 0;     // bytes of empty lines before it
  size_t fields_ = 0;
  uint64_t chunk_left_ = 0;
  // Of the head, as it is read.
  bool asterisk_ = false;
  bool target_names_host_ = false;
  size_t hosts_ = 0;
  size_t lengths_ = 0;
  size_t encodings_ = 0;
  std::string authority_;
  std::string_view wrong_field_;
};

void Http1Parser::Impl::Reset() {
  reader_.emplace(static_cast<RequestEvents*>(this));
  head.Recycle();
  body = {};
  error = Status();
  error_http_status = 400;
  http_1_0 = has_body = asterisk_ = target_names_host_ = false;
  phase_ = Phase::kHead;
  searched_ = blank_ = fields_ = hosts_ = lengths_ = encodings_ = 0;
  chunk_left_ = 0;
  authority_.clear();
  wrong_field_ = {};
}

Http1Parser::Result Http1Parser::Impl::Next(std::string_view input) {
  body = {};
  Result result{Step::kEnd, 0};
  if (phase_ == Phase::kHead) result = NextOfHead(input);
  if (phase_ == Phase::kBody && result.step == Step::kEnd) {
    result = reader_->is_done() ? result : NextOfBody(input);
  }
  if (result.step == Step::kEnd) phase_ = Phase::kEnded;
  if (result.step == Step::kBroken) phase_ = Phase::kBroken;
  return result;
}

Http1Parser::Result Http1Parser::Impl::NextOfHead(std::string_view input) {
  size_t taken = 0;
  if (searched_ == 0) {
    while (blank_ < kHttp1BlankBytesMax && input.substr(taken).starts_with("\r\n")) {
      taken += 2;
      blank_ += 2;
    }
    input.remove_prefix(taken);
    // The rest of an empty line, perhaps.
    if (blank_ < kHttp1BlankBytesMax && input == "\r") return {Step::kNeedMore, taken};
  }
  const size_t from = searched_ < kHeadEnd.size() ? 0 : searched_ - kHeadEnd.size() + 1;
  const size_t end = input.find(kHeadEnd, from);
  const bool whole = end != std::string_view::npos;
  const size_t size = whole ? end + kHeadEnd.size() : input.size();
  // A first line that cannot be one is told at once, not when the rest does not come.
  if (!LinesAreClean(input.substr(0, size), searched_ == 0 ? 0 : searched_ - 1)) {
    return Broken(400, "the request's lines do not end in CRLF, or are folded");
  }
  if (size > kHttp1HeadBytesMax) {
    rpc::Count(rpc::LocalCounters().limit_http_head);
    return Broken(431, "the request's head is larger than " + std::to_string(kHttp1HeadBytesMax) +
                           " bytes");
  }
  searched_ = size;
  if (!whole) return {Step::kNeedMore, taken};
  error_code ec;
  const size_t parsed = reader_->put(boost::asio::const_buffer(input.data(), size), ec);
  if (ec == http::error::header_limit) {
    rpc::Count(rpc::LocalCounters().limit_http_head);
    return Broken(431, "the request has more than " + std::to_string(kHttp1FieldsMax) + " fields");
  }
  if (ec == http::error::bad_version) {
    return Broken(505, "the request is of no version of HTTP that is spoken here");
  }
  if (ec || parsed != size || !reader_->is_header_done()) {
    return Broken(400, "the request's head is malformed" + (ec ? ": " + ec.message() : ""));
  }
  if (std::string wrong = CheckHead(); !wrong.empty()) return Broken(400, std::move(wrong));
  has_body = !reader_->is_done();
  phase_ = Phase::kBody;
  return {Step::kHead, taken + size};
}

void Http1Parser::Impl::OnRequest(std::string_view method, std::string_view target,
                                  bool version_1_0) {
  constexpr std::string_view kScheme = "http://";
  http_1_0 = version_1_0;
  head.Add(":method", method);
  asterisk_ = target == "*" && method == "OPTIONS";
  if (Lower(target.substr(0, kScheme.size())) != kScheme) {
    head.Add(":path", target);
    return;
  }
  // An absolute target is cut down to its path. RFC 9112 section 3.2.2: with a target that names
  // the host, Host counts for nothing.
  target_names_host_ = true;
  const size_t end = std::min(target.find_first_of("/?", kScheme.size()), target.size());
  authority_ = target.substr(kScheme.size(), end - kScheme.size());
  const std::string_view path = target.substr(end);
  head.Add(":path", path.starts_with('/') ? std::string(path) : "/" + std::string(path));
}

bool Http1Parser::Impl::OnField(std::string_view name, std::string_view value) {
  if (++fields_ > kHttp1FieldsMax) return false;
  // Trailers are read and forgotten.
  if (phase_ != Phase::kHead) return true;
  std::array<char, kShortNameBytes> small;
  std::string large;
  if (name.size() <= small.size()) {
    std::transform(name.begin(), name.end(), small.begin(), Small);
    name = std::string_view(small.data(), name.size());
  } else {
    large = Lower(name);
    name = large;
  }
  if (name == "host") {
    ++hosts_;
    if (!target_names_host_) authority_ = value;
    return true;
  }
  if (name == "content-length") {
    ++lengths_;
    if (wrong_field_.empty() && !IsDigits(value)) wrong_field_ = "content-length is not a number";
  } else if (name == "transfer-encoding") {
    ++encodings_;
    if (wrong_field_.empty() && Lower(value) != "chunked") {
      wrong_field_ = "the only transfer-encoding is chunked";
    }
  }
  head.Add(name, value);
  return true;
}

std::string Http1Parser::Impl::CheckHead() {
  if (!wrong_field_.empty()) return std::string(wrong_field_);
  if (hosts_ > 1) return "the request names its host twice";
  if (hosts_ == 0 && !http_1_0) return "the request does not name its host";
  if (lengths_ > 1 || encodings_ > 1 || (lengths_ != 0 && encodings_ != 0)) {
    return "the request says more than one thing of its body's size";
  }
  if (encodings_ != 0 && http_1_0) return "HTTP/1.0 has no transfer-encoding";
  if (!head.Find(":path")->starts_with('/') && !asterisk_) {
    return "the request's target is not a path";
  }
  head.Add(":authority", authority_);
  return {};
}

Http1Parser::Result Http1Parser::Impl::NextOfBody(std::string_view input) {
  size_t taken = 0;
  while (!reader_->is_done()) {
    const std::string_view rest = input.substr(taken);
    const bool chunk_head = reader_->chunked() && chunk_left_ == 0;
    if (rest.empty() || (chunk_head && rest.size() < kChunkHeadBytesMin)) {
      return {Step::kNeedMore, taken};
    }
    error_code ec;
    taken += reader_->put(boost::asio::const_buffer(rest.data(), rest.size()), ec);
    if (ec == http::error::need_more) {
      if (rest.size() < kHttp1ChunkHeadBytesMax) return {Step::kNeedMore, taken};
      rpc::Count(rpc::LocalCounters().limit_http_head);
      return Broken(400, "a chunk's head, or the trailers, are larger than " +
                             std::to_string(kHttp1ChunkHeadBytesMax) + " bytes");
    }
    if (ec) return Broken(400, "the request's body is malformed: " + ec.message());
    if (!body.empty()) return {Step::kBody, taken};
  }
  return {Step::kEnd, taken};
}

// ---- Http1Parser ----

Http1Parser::Http1Parser() : impl_(std::make_unique<Impl>()) {}
Http1Parser::~Http1Parser() = default;

Http1Parser::Result Http1Parser::Next(std::string_view input) { return impl_->Next(input); }
void Http1Parser::Reset() { impl_->Reset(); }
bool Http1Parser::begun() const { return impl_->begun(); }
const rpc::HeaderList& Http1Parser::head() const { return impl_->head; }
std::string_view Http1Parser::body() const { return impl_->body; }
bool Http1Parser::keep_alive() const { return impl_->keep_alive(); }
bool Http1Parser::http_1_0() const { return impl_->http_1_0; }
bool Http1Parser::has_body() const { return impl_->has_body; }
const Status& Http1Parser::error() const { return impl_->error; }
int Http1Parser::error_http_status() const { return impl_->error_http_status; }

}  // namespace lever::gateway
