#include "liblever/rpc/grpc_status.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "liblever/rpc/call.h"
#include "liblever/rpc/percent.h"

namespace lever::rpc {
namespace {

constexpr std::string_view kGrpcStatus = "grpc-status";
constexpr std::string_view kGrpcMessage = "grpc-message";

bool EqualsIgnoringCase(std::string_view text, std::string_view lower) {
  return std::equal(text.begin(), text.end(), lower.begin(), lower.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + ('a' - 'A')) : a) == b;
  });
}

std::optional<int> ParseNumber(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

ContentKind ClassifyContentType(std::string_view content_type) {
  constexpr std::string_view kGrpc = "application/grpc";
  if (content_type == kGrpc) return ContentKind::kGrpc;
  std::string_view type = content_type.substr(0, content_type.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  if (!EqualsIgnoringCase(type.substr(0, kGrpc.size()), kGrpc)) return ContentKind::kOther;
  const std::string_view codec = type.substr(kGrpc.size());
  if (codec.empty() || EqualsIgnoringCase(codec, "+proto")) return ContentKind::kGrpc;
  return codec.front() == '+' ? ContentKind::kGrpcOtherCodec : ContentKind::kOther;
}

void AppendStatus(const Status& status, Replied replied, HeaderList* trailers) {
  trailers->Add(kGrpcStatus, std::to_string(StatusToGrpc(status.code())));
  if (status.ok()) return;
  if (!status.message().empty()) {
    trailers->Add(kGrpcMessage, EncodeGrpcMessage(status.message()), Indexing::kNever);
  }
  if (status.executed() == LEVER_EXECUTED_NO && replied == Replied::kNo) {
    trailers->Add(kExecutedTrailer, kExecutedNo);
  }
}

Status ReadStatus(const HeaderList& trailers, std::string_view http_status, Replied replied) {
  const std::optional<std::string_view> text = trailers.Find(kGrpcStatus);
  const std::optional<int> number = text ? ParseNumber(*text) : std::nullopt;
  if (!number) {
    std::string message(text ? "the response has the invalid grpc-status '" + std::string(*text) +
                                   "'"
                             : "the response has no grpc-status");
    message.append(" (HTTP status ").append(http_status).append(")");
    return Status(CodeFromHttpStatus(http_status), std::move(message));
  }
  if (*number == 0) return Status::Ok();
  const std::string_view message = trailers.Find(kGrpcMessage).value_or("");
  const bool refused =
      replied == Replied::kNo && trailers.Find(kExecutedTrailer) == std::string_view(kExecutedNo);
  return Status(StatusFromGrpc(*number), DecodeGrpcMessage(message))
      .WithExecuted(refused ? LEVER_EXECUTED_NO : LEVER_EXECUTED_UNKNOWN);
}

lever_status CodeFromHttpStatus(std::string_view http_status) {
  switch (ParseNumber(http_status).value_or(0)) {
    case 400:
      return LEVER_INTERNAL;
    case 401:
      return LEVER_UNAUTHENTICATED;
    case 403:
      return LEVER_PERMISSION_DENIED;
    case 404:
      return LEVER_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
      return LEVER_UNAVAILABLE;
    default:
      return LEVER_UNKNOWN;
  }
}

Status StatusFromReset(uint32_t error_code) {
  std::string message = "the peer ended the stream with ";
  message.append(nghttp2_http2_strerror(error_code));
  switch (error_code) {
    case NGHTTP2_CANCEL:
      return Cancelled(std::move(message));
    case NGHTTP2_REFUSED_STREAM:
      return Unavailable(std::move(message));
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return ResourceExhausted(std::move(message));
    case NGHTTP2_INADEQUATE_SECURITY:
      return PermissionDenied(std::move(message));
    case NGHTTP2_STREAM_CLOSED:
    case NGHTTP2_HTTP_1_1_REQUIRED:
      return Unknown(std::move(message));
    default:
      return Internal(std::move(message));
  }
}

}  // namespace lever::rpc
