#include "liblever/host/gateway/http_request.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "liblever/host/deploy/manifest.h"
#include "liblever/host/gateway/http_limits.h"
#include "liblever/route/wire.h"
#include "liblever/rpc/metadata.h"
#include "liblever/value/json.h"

namespace lever::gateway {
namespace {

constexpr std::string_view kEnvironmentHeader = "lever-env";
constexpr std::string_view kTimeoutHeader = "lever-timeout";
constexpr std::string_view kIdempotentHeader = "lever-idempotent";

// At most 60 characters of what a request says, without what does not print.
std::string Shown(std::string_view text) {
  std::string shown("'");
  for (const char c : text.substr(0, 60)) shown.push_back(c >= 0x20 && c < 0x7f ? c : '?');
  return shown.append(text.size() > 60 ? "...'" : "'");
}

StatusOr<policy::Address> ReadAddress(const rpc::HeaderList& request, const HttpPeer& peer) {
  const std::string_view target = request.Find(":path").value_or("");
  const size_t question = target.find('?');
  const std::string_view path = target.substr(0, question);
  if (!path.starts_with('/')) {
    return InvalidArgument("the path " + Shown(path) + " does not begin with a slash");
  }
  LEVER_ASSIGN_OR_RETURN(policy::Address address, policy::ParseAddress(path));
  std::optional<std::string> environment;
  if (question != std::string_view::npos) {
    LEVER_ASSIGN_OR_RETURN(environment, QueryParameter(target.substr(question + 1), "env"));
  }
  if (const auto header = request.Find(kEnvironmentHeader)) {
    if (environment && *environment != *header) {
      return InvalidArgument("?env= and lever-env name two environments");
    }
    environment = std::string(*header);
  }
  if (environment) {
    LEVER_RETURN_IF_ERROR(policy::CheckEnvironment(*environment));
    address.environment = std::move(*environment);
  } else if (!peer.caller.environment.empty()) {
    address.environment = peer.caller.environment;
  } else {
    address.environment = policy::kDefaultEnvironment;
  }
  return address;
}

StatusOr<int64_t> ReadTimeout(const rpc::HeaderList& request, bool streams) {
  const auto text = request.Find(kTimeoutHeader);
  if (!text) return streams ? int64_t{-1} : route::kUnaryTimeoutNs;
  const StatusOr<int64_t> timeout_ns = deploy::ParseDuration(*text);
  if (!timeout_ns.ok() || *timeout_ns <= 0) {
    return InvalidArgument("lever-timeout " + Shown(*text) +
                           ": a duration looks like 5s, 250ms or 2m");
  }
  return *timeout_ns;
}

StatusOr<bool> ReadIdempotent(const rpc::HeaderList& request) {
  const auto text = request.Find(kIdempotentHeader);
  if (!text || *text == "false") return false;
  if (*text == "true") return true;
  return InvalidArgument("lever-idempotent " + Shown(*text) + " is neither true nor false");
}

Status ReadMetadataFields(const rpc::HeaderList& request, rpc::HeaderList* metadata) {
  rpc::HeaderList wire;
  for (size_t i = 0; i < request.size(); ++i) {
    const rpc::HeaderView field = request[i];
    if (IsMetadataField(field.name)) wire.Add(field.name, field.value, field.indexing);
  }
  return rpc::ReadMetadata(wire, metadata);
}

// Empty if the body is of a kind that the method takes.
std::string WrongBody(const rpc::HeaderList& request, BodyType type, bool streams) {
  const auto encoding = request.Find("content-encoding");
  if (encoding && *encoding != "identity") {
    return "content-encoding " + Shown(*encoding) + " is not understood";
  }
  if (type == BodyType::kNone || type == BodyType::kForm) return {};
  if (streams) {
    if (type == BodyType::kLines) return {};
    return "a streaming method takes application/x-ndjson: one JSON value a line, the first one "
           "the array of arguments";
  }
  if (type == BodyType::kJson || type == BodyType::kBytes) return {};
  return "a method takes application/json, the array of arguments, or application/octet-stream, "
         "one argument of bytes";
}

bool IsArray(std::string_view message_pack) {
  const uint8_t first = static_cast<uint8_t>(message_pack[0]);
  return (first & 0xf0) == 0x90 || first == 0xdc || first == 0xdd;
}

Status NotRun(const Status& status) { return status.WithExecuted(LEVER_EXECUTED_NO); }

}  // namespace

std::optional<HttpRefusal> ReadMethodRequest(const rpc::HeaderList& request, const HttpPeer& peer,
                                             int64_t now_ns, MethodRequest* out) {
  const BodyType type = ClassifyBody(request.Find("content-type"));
  if (type == BodyType::kGrpc) {
    // Whatever its path, which may be one of gRPC's.
    return HttpRefusal{NotRun(InvalidArgument("gRPC is spoken over HTTP/2, as application/grpc")),
                       415};
  }
  StatusOr<policy::Address> address = ReadAddress(request, peer);
  if (!address.ok()) return HttpRefusal{NotRun(address.status())};
  const bool streams = policy::IsStreamingMethod(address->method);
  if (std::string wrong = WrongBody(request, type, streams); !wrong.empty()) {
    return HttpRefusal{NotRun(InvalidArgument(std::move(wrong))), 415};
  }
  const StatusOr<int64_t> timeout_ns = ReadTimeout(request, streams);
  if (!timeout_ns.ok()) return HttpRefusal{NotRun(timeout_ns.status())};
  const StatusOr<bool> idempotent = ReadIdempotent(request);
  if (!idempotent.ok()) return HttpRefusal{NotRun(idempotent.status())};
  const StatusOr<VersionWish> wish = ReadVersionWish(request, peer.caller);
  if (!wish.ok()) return HttpRefusal{NotRun(wish.status())};
  const Status metadata = ReadMetadataFields(request, &out->call.metadata);
  if (!metadata.ok()) return HttpRefusal{NotRun(metadata)};
  out->call.address = std::move(*address);
  out->call.wish = *wish;
  out->call.caller = peer.caller.identity;
  out->call.deadline_ns = DeadlineAfter(now_ns, *timeout_ns);
  out->call.idempotent = *idempotent;
  out->call.streams = streams;
  out->call.kept_bytes_max = streams ? rpc::kStreamWindowBytes : rpc::kMessageBytesMax;
  out->bytes_in = type == BodyType::kBytes;
  out->bytes_out = out->bytes_in || AcceptsBytes(request.Find("accept"));
  return std::nullopt;
}

std::optional<uint64_t> ContentLength(const rpc::HeaderList& request) {
  const auto text = request.Find("content-length");
  if (!text) return std::nullopt;
  uint64_t length = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), length);
  if (error == std::errc::result_out_of_range) return UINT64_MAX;
  if (error != std::errc() || end != text->data() + text->size()) return std::nullopt;
  return length;
}

StatusOr<std::string> ReadArguments(std::string_view json) {
  const bool blank = std::all_of(json.begin(), json.end(), [](char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
  });
  if (blank) return std::string("\x90");
  LEVER_ASSIGN_OR_RETURN(std::string value, value::JsonToMessagePack(json));
  if (!IsArray(value)) {
    return InvalidArgument("the arguments are not a JSON array, as in [\"Ann\", 5]")
        .WithExecuted(LEVER_EXECUTED_NO);
  }
  return value;
}

}  // namespace lever::gateway
