#include "liblever/host/gateway/http1_parser.h"

#include <algorithm>
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

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
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
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

class Http1Parser::Impl final : public http::basic_parser<true> {
 public:
  Impl() {
    header_limit(static_cast<uint32_t>(kHttp1HeadBytesMax));
    body_limit(boost::none);  // the handler's own
  }

  Result Next(std::string_view input);
  bool begun() const { return searched_ > 0; }
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
  // Empty if the head makes sense.
  std::string CheckHead();
  // Cuts an absolute target down to its path, and takes the host's name from it.
  void TakeAbsoluteTarget();

  // What Beast calls.
  void on_request_impl(http::verb, string_view verb, string_view target, int version,
                       error_code&) override {
    method_ = View(verb);
    target_ = View(target);
    http_1_0 = version == 10;
  }
  void on_response_impl(int, string_view, int, error_code&) override {}
  void on_field_impl(http::field, string_view name, string_view value, error_code& ec) override {
    if (++fields_ > kHttp1FieldsMax) {
      ec = http::error::header_limit;
      return;
    }
    // Trailers are read and forgotten.
    if (phase_ == Phase::kHead) fields_list_.Add(Lower(View(name)), View(value));
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<uint64_t>&, error_code&) override {}
  size_t on_body_impl(string_view piece, error_code&) override {
    body = View(piece);
    return piece.size();
  }
  void on_chunk_header_impl(uint64_t size, string_view, error_code&) override {
    chunk_left_ = size;
  }
  size_t on_chunk_body_impl(uint64_t, string_view piece, error_code&) override {
    body = View(piece);
    chunk_left_ -= piece.size();
    return piece.size();
  }
  void on_finish_impl(error_code&) override {}

  Phase phase_ = Phase::kHead;
  size_t searched_ = 0;  // of the head, for its end
  size_t blank_ = 0;     // bytes of empty lines before it
  size_t fields_ = 0;
  uint64_t chunk_left_ = 0;
  std::string method_;
  std::string target_;
  std::string authority_;
  rpc::HeaderList fields_list_;
};

Http1Parser::Result Http1Parser::Impl::Next(std::string_view input) {
  body = {};
  Result result{Step::kEnd, 0};
  if (phase_ == Phase::kHead) result = NextOfHead(input);
  if (phase_ == Phase::kBody && result.step == Step::kEnd) {
    result = is_done() ? result : NextOfBody(input);
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
  const size_t parsed = put(boost::asio::const_buffer(input.data(), size), ec);
  if (ec == http::error::header_limit) {
    rpc::Count(rpc::LocalCounters().limit_http_head);
    return Broken(431, "the request has more than " + std::to_string(kHttp1FieldsMax) + " fields");
  }
  if (ec == http::error::bad_version) {
    return Broken(505, "the request is of no version of HTTP that is spoken here");
  }
  if (ec || parsed != size || !is_header_done()) {
    return Broken(400, "the request's head is malformed" + (ec ? ": " + ec.message() : ""));
  }
  if (std::string wrong = CheckHead(); !wrong.empty()) return Broken(400, std::move(wrong));
  has_body = !is_done();
  phase_ = Phase::kBody;
  return {Step::kHead, taken + size};
}

void Http1Parser::Impl::TakeAbsoluteTarget() {
  constexpr std::string_view kScheme = "http://";
  if (Lower(std::string_view(target_).substr(0, kScheme.size())) != kScheme) return;
  const size_t end = std::min(target_.find_first_of("/?", kScheme.size()), target_.size());
  authority_ = target_.substr(kScheme.size(), end - kScheme.size());
  target_.erase(0, end);
  if (!target_.starts_with('/')) target_.insert(0, "/");
}

std::string Http1Parser::Impl::CheckHead() {
  size_t hosts = 0;
  size_t lengths = 0;
  size_t encodings = 0;
  for (size_t i = 0; i < fields_list_.size(); ++i) {
    const rpc::HeaderView field = fields_list_[i];
    if (field.name == "host") {
      ++hosts;
      authority_ = field.value;
    } else if (field.name == "content-length") {
      ++lengths;
      if (!IsDigits(field.value)) return "content-length is not a number";
    } else if (field.name == "transfer-encoding") {
      ++encodings;
      if (Lower(field.value) != "chunked") return "the only transfer-encoding is chunked";
    }
  }
  if (hosts > 1) return "the request names its host twice";
  if (hosts == 0 && !http_1_0) return "the request does not name its host";
  if (lengths > 1 || encodings > 1 || (lengths != 0 && encodings != 0)) {
    return "the request says more than one thing of its body's size";
  }
  if (encodings != 0 && http_1_0) return "HTTP/1.0 has no transfer-encoding";
  // RFC 9112 section 3.2.2: with a target that names the host, Host counts for nothing.
  TakeAbsoluteTarget();
  const bool asterisk = target_ == "*" && method_ == "OPTIONS";
  if (!target_.starts_with('/') && !asterisk) return "the request's target is not a path";
  head.Add(":method", method_);
  head.Add(":path", target_);
  head.Add(":authority", authority_);
  for (size_t i = 0; i < fields_list_.size(); ++i) {
    if (fields_list_[i].name != "host") head.Add(fields_list_[i].name, fields_list_[i].value);
  }
  return {};
}

Http1Parser::Result Http1Parser::Impl::NextOfBody(std::string_view input) {
  size_t taken = 0;
  while (!is_done()) {
    const std::string_view rest = input.substr(taken);
    const bool chunk_head = chunked() && chunk_left_ == 0;
    if (rest.empty() || (chunk_head && rest.size() < kChunkHeadBytesMin)) {
      return {Step::kNeedMore, taken};
    }
    error_code ec;
    taken += put(boost::asio::const_buffer(rest.data(), rest.size()), ec);
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
bool Http1Parser::begun() const { return impl_->begun(); }
const rpc::HeaderList& Http1Parser::head() const { return impl_->head; }
std::string_view Http1Parser::body() const { return impl_->body; }
bool Http1Parser::keep_alive() const { return impl_->keep_alive(); }
bool Http1Parser::http_1_0() const { return impl_->http_1_0; }
bool Http1Parser::has_body() const { return impl_->has_body; }
const Status& Http1Parser::error() const { return impl_->error; }
int Http1Parser::error_http_status() const { return impl_->error_http_status; }

}  // namespace lever::gateway
