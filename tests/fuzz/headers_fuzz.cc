// Header blocks: HPACK through a session, against an inflater beside it that has no limits; fields
// of gRPC through a server; and the texts in them.
//
// With limits hit anywhere, what a later block means must stay right: each request that reaches its
// user has the fields that the inflater gives, and a block that the inflater refuses ends the
// connection.
#include <nghttp2/nghttp2.h>

#include <map>
#include <memory>
#include <vector>

#include "liblever/rpc/connection.h"
#include "liblever/rpc/grpc_status.h"
#include "liblever/rpc/grpc_timeout.h"
#include "liblever/rpc/metadata.h"
#include "liblever/rpc/percent.h"
#include "liblever/rpc/server.h"
#include "liblever/value/utf8.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_loop.h"
#include "tests/fuzz/memory_stream.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::rpc {
namespace {

constexpr uint8_t kFlagEndBoth = kFlagEndStream | kFlagEndHeaders;
constexpr size_t kSmallListBytesMax = 600;

struct Field {
  std::string name;
  std::string value;
};
using Fields = std::vector<Field>;

// HPACK's other end: all fields of every block, whatever their number.
class Inflater {
 public:
  Inflater() { nghttp2_hd_inflate_new(&inflater_); }
  ~Inflater() { nghttp2_hd_inflate_del(inflater_); }

  bool Inflate(std::string_view block, Fields* fields) {
    const auto* at = reinterpret_cast<const uint8_t*>(block.data());
    size_t left = block.size();
    for (;;) {
      nghttp2_nv field;
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &field, &flags, at, left, 1);
      if (used < 0) return false;
      at += used;
      left -= static_cast<size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        fields->push_back({std::string(reinterpret_cast<char*>(field.name), field.namelen),
                           std::string(reinterpret_cast<char*>(field.value), field.valuelen)});
        continue;
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
        nghttp2_hd_inflate_end_headers(inflater_);
        return true;
      }
      if (left == 0) return false;
    }
  }

 private:
  nghttp2_hd_inflater* inflater_ = nullptr;
};

// Fields that HTTP/2 leaves out of a request, and whose request goes on.
bool LeftOut(const Field& field) {
  const auto* name = reinterpret_cast<const uint8_t*>(field.name.data());
  const auto* value = reinterpret_cast<const uint8_t*>(field.value.data());
  return nghttp2_check_header_name(name, field.name.size()) == 0 ||
         nghttp2_check_header_value(value, field.value.size()) == 0;
}

class IgnoreAll final : public StreamHandler {
 public:
  void OnData(Stream& stream, Slice data) override { stream.Consume(data.size()); }
  void OnRemoteEnd(Stream&) override {}
  void OnClosed(Stream&, const StreamClose&) override {}
};

// A connection whose peer sends what a target says, and its end.
class HeldConnection final : public ConnectionHandler {
 public:
  using OnStream = std::function<void(Stream&)>;

  HeldConnection(const ConnectionOptions& options, OnStream on_stream)
      : on_stream_(std::move(on_stream)) {
    fuzz::Do([&] {
      connection_ =
          std::move(Connection::Over(fuzz::TheLoop(), std::make_unique<fuzz::MemoryStream>(&wire_),
                                     options, this))
              .value();
    });
    Send(std::string(kClientMagic) + Frame(kFrameSettings, 0, 0));
  }
  ~HeldConnection() override {
    fuzz::Do([&] { connection_.reset(); });
    fuzz::Settle();
  }

  void Send(std::string_view bytes) {
    wire_.to_read.append(bytes);
    if (closed_) return;
    fuzz::Do([&] { fuzz::TheLoop()->MarkReady(connection_.get(), EPOLLIN); });
    fuzz::Settle();
  }
  bool closed() const { return closed_; }
  const std::string& written() const { return wire_.written; }

  void OnRequest(Stream& stream) override { on_stream_(stream); }
  void OnClosed(Connection&, const Status&) override {
    FUZZ_CHECK(!closed_, "closed twice");
    closed_ = true;
  }

 private:
  OnStream on_stream_;
  fuzz::Wire wire_;
  bool closed_ = false;
  std::unique_ptr<Connection> connection_;
};

// ---- Blocks ----

void CheckDelivered(const HeaderList& delivered, const Fields& inflated) {
  size_t at = 0;
  for (size_t i = 0; i < delivered.size(); ++i, ++at) {
    const HeaderView field = delivered[i];
    while (at < inflated.size() && LeftOut(inflated[at])) ++at;
    FUZZ_CHECK(at < inflated.size(), "a field more: " + std::string(field.name));
    FUZZ_CHECK(inflated[at].name == field.name && inflated[at].value == field.value,
               inflated[at].name + " is " + std::string(field.name));
  }
  for (; at < inflated.size(); ++at)
    FUZZ_CHECK(LeftOut(inflated[at]), "without " + inflated[at].name);
}

// HEADERS, and CONTINUATION frames if there are to be pieces.
std::string BlockFrames(uint32_t stream, std::string_view block, size_t pieces) {
  const size_t size = pieces <= 1 ? block.size() : block.size() / pieces + 1;
  std::string frames;
  bool first = true;
  do {
    const std::string_view piece = block.substr(0, size);
    block.remove_prefix(piece.size());
    const uint8_t end = block.empty() ? kFlagEndHeaders : 0;
    frames += first ? Frame(kFrameHeaders, kFlagEndStream | end, stream, piece)
                    : Frame(kFrameContinuation, end, stream, piece);
    first = false;
  } while (!block.empty());
  return frames;
}

void CheckBlocks(fuzz::Input input, size_t list_bytes_max) {
  ConnectionOptions options;
  options.header_list_bytes_max = list_bytes_max;
  Inflater inflater;
  std::map<int32_t, Fields> expected;
  std::map<int32_t, bool> seen;
  IgnoreAll ignore;
  HeldConnection session(options, [&](Stream& stream) {
    stream.set_handler(&ignore);
    FUZZ_CHECK(expected.contains(stream.id()), std::to_string(stream.id()));
    FUZZ_CHECK(stream.headers().AccountedBytes() <= list_bytes_max, "larger than the limit");
    FUZZ_CHECK(stream.headers().size() <= kHeaderFieldsMax, "more fields than the limit");
    CheckDelivered(stream.headers(), expected[stream.id()]);
    FUZZ_CHECK(!std::exchange(seen[stream.id()], true), "delivered twice");
  });
  int32_t id = 1;
  for (; !input.empty() && !session.closed(); id += 2) {
    const uint32_t head = input.Short();
    const std::string block(input.Text(head & 0xfff));
    if (!inflater.Inflate(block, &expected[id])) {
      session.Send(BlockFrames(static_cast<uint32_t>(id), block, head >> 13));
      FUZZ_CHECK(session.closed(), "a block that cannot be read, and the connection goes on");
      FUZZ_CHECK(!seen[id], "a block that cannot be read was delivered");
      return;
    }
    session.Send(BlockFrames(static_cast<uint32_t>(id), block, head >> 13));
  }
  if (session.closed()) return;
  // The connection goes on, so its table is right: this one arrives.
  const std::string block = std::string(kRequestBlock) + std::string(
                                                             "\x40\x03new\x05"
                                                             "field\xbe",
                                                             11);
  FUZZ_CHECK(inflater.Inflate(block, &expected[id]), "the last block");
  session.Send(Frame(kFrameHeaders, kFlagEndBoth, static_cast<uint32_t>(id), block));
  FUZZ_CHECK(session.closed() || seen[id], "the last request did not arrive");
}

// ---- Fields ----

std::string Literal(std::string_view name, std::string_view value) {
  std::string block(1, '\x10');  // never indexed, with its name
  for (const std::string_view text : {name, value}) {
    size_t rest = text.size();
    if (rest < 127) {
      block += static_cast<char>(rest);
    } else {
      block += '\x7f';
      for (rest -= 127; rest >= 128; rest /= 128) block += static_cast<char>(128 | rest % 128);
      block += static_cast<char>(rest);
    }
    block += text;
  }
  return block;
}

// What a call gives its user of the peer's metadata is what it gives after the way back and there.
void CheckMetadataOf(const HeaderList& wire) {
  HeaderList metadata, back, again;
  if (!ReadMetadata(wire, &metadata).ok()) return;
  for (size_t i = 0; i < metadata.size(); ++i) {
    const HeaderView field = metadata[i];
    FUZZ_CHECK(!IsReservedHeader(field.name) || field.name == "user-agent",
               std::string(field.name));
  }
  AppendMetadata(metadata, &back);
  FUZZ_CHECK(ReadMetadata(back, &again).ok(), "what was written cannot be read");
  size_t at = 0;
  for (size_t i = 0; i < metadata.size(); ++i) {
    const HeaderView field = metadata[i];
    if (!CheckMetadata(field.name, field.value).ok()) continue;
    FUZZ_CHECK(at < again.size() && again[at].name == field.name, std::string(field.name));
    std::string_view value = field.value;
    if (!field.name.ends_with("-bin")) {
      while (value.starts_with(' ')) value.remove_prefix(1);
      while (value.ends_with(' ')) value.remove_suffix(1);
    }
    FUZZ_CHECK(again[at].value == value, std::string(field.name));
    ++at;
  }
  FUZZ_CHECK(at == again.size(), "a field more");
}

void CheckTimeout(std::string_view text) {
  const auto timeout = ParseGrpcTimeout(text);
  if (!timeout) return;
  FUZZ_CHECK(*timeout >= 0, std::to_string(*timeout));
  const std::string written = FormatGrpcTimeout(*timeout);
  const auto again = ParseGrpcTimeout(written);
  // Rounded up to the eighth digit at most.
  FUZZ_CHECK(again && *again >= *timeout, written);
  FUZZ_CHECK(*again == kNever || *again - *timeout <= *timeout / 1'000'000 + 1, written);
}

void CheckMessage(std::string_view text) {
  const std::string message = DecodeGrpcMessage(text);
  FUZZ_CHECK(value::IsUtf8(message), std::string(text));
  FUZZ_CHECK(message.size() <= text.size(), message);
  const std::string encoded = EncodeGrpcMessage(message);
  FUZZ_CHECK(encoded.size() <= kGrpcMessageEncodedBytesMax, encoded);
  for (const char c : encoded) FUZZ_CHECK(c >= 0x20 && c <= 0x7e, encoded);
  const std::string back = DecodeGrpcMessage(encoded);
  FUZZ_CHECK(message.starts_with(back), back);
  FUZZ_CHECK(3 * message.size() > kGrpcMessageEncodedBytesMax || back == message, back);
}

void CheckStatus(const HeaderList& trailers, std::string_view http_status) {
  const Status status = ReadStatus(trailers, http_status, Replied::kNo);
  FUZZ_CHECK(StatusToGrpc(status.code()) >= 0 && StatusToGrpc(status.code()) <= 16,
             status.ToString());
  if (!trailers.Find("grpc-status") || status.message().size() > 1000) return;
  HeaderList written;
  AppendStatus(status, Replied::kNo, &written);
  const Status again = ReadStatus(written, "200", Replied::kNo);
  FUZZ_CHECK(again.code() == status.code(), again.ToString());
  FUZZ_CHECK(again.executed() == status.executed() || status.ok(), again.ToString());
}

// Refuses every call after a look at it.
class LookingDispatcher final : public CallDispatcher, public CallHandler {
 public:
  explicit LookingDispatcher(const HeaderList* fields) : fields_(fields) {}
  void OnCall(Call& call) override {
    call.set_handler(this);
    ++calls;
    const HeaderList& headers = call.headers();
    for (size_t i = 0; i < headers.size(); ++i) {
      FUZZ_CHECK(!IsReservedHeader(headers[i].name) || headers[i].name == "user-agent",
                 std::string(headers[i].name));
    }
    const auto text = fields_->Find("grpc-timeout");
    if (!text) FUZZ_CHECK(call.deadline_ns() == kNever, std::to_string(call.deadline_ns()));
    FUZZ_CHECK(call.deadline_ns() >= fuzz::TheLoop()->now_ns(), std::to_string(call.deadline_ns()));
    call.Finish(NotFound("nobody").WithExecuted(LEVER_EXECUTED_NO));
  }
  void OnMessage(Call&, SliceList) override { FUZZ_CHECK(false, "a message without a body"); }
  void OnEnd(Call&, const CallEnd&) override { ++ends; }
  int calls = 0;
  int ends = 0;

 private:
  const HeaderList* fields_;
};

void CheckFields(fuzz::Input input) {
  HeaderList fields;
  std::string block("\x83\x86\x44\x02/x\x41\x01x", 9);
  if ((input.Byte() & 1) != 0) block += Literal("content-type", "application/grpc");
  while (!input.empty()) {
    const std::string_view name = input.Counted();
    const std::string_view value = input.Counted();
    fields.Add(name, value);
    block += Literal(name, value);
    CheckTimeout(value);
    CheckMessage(value);
    (void)ClassifyContentType(value);
  }
  CheckMetadataOf(fields);
  CheckStatus(fields, fields.Find(":status").value_or("200"));
  HeaderList arrived;
  LookingDispatcher dispatcher(&arrived);
  {
    std::unique_ptr<Server> server = Server::Make(fuzz::TheLoop(), &dispatcher);
    bool served = false;
    HeldConnection session({}, [&](Stream& stream) {
      arrived = stream.headers();
      served = true;
      server->Serve(stream);
    });
    session.Send(Frame(kFrameHeaders, kFlagEndBoth, 1, block));
    // Answered with headers or a reset, or the connection has ended.
    bool answered = session.closed();
    for (const SeenFrame& frame : Parse(session.written())) answered |= frame.stream == 1;
    FUZZ_CHECK(answered, "no answer");
    FUZZ_CHECK(!served || server->open_calls() == 0, "a call is left");
    fuzz::Do([&] { server.reset(); });
  }
  FUZZ_CHECK(dispatcher.calls == dispatcher.ends, std::to_string(dispatcher.ends));
}

}  // namespace
}  // namespace lever::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lever::fuzz::Input input(data, size);
  switch (input.Byte() % 4) {
    case 0:
      lever::rpc::CheckBlocks(input, lever::rpc::kHeaderListBytesMax);
      break;
    case 1:
      lever::rpc::CheckBlocks(input, lever::rpc::kSmallListBytesMax);
      break;
    default:
      lever::rpc::CheckFields(input);
      break;
  }
  return 0;
}
