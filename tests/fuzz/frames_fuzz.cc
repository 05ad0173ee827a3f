// Frames in, both roles: a connection over memory whose peer, clock and users do what the input
// says.
//
// The input is a byte that says how it begins, then steps: see Step. What must hold is written at
// the handlers (connection.h's invariants), in Finish(), and in seen_frames.h for what goes out.
#include <array>
#include <deque>
#include <memory>

#include "liblever/rpc/connection.h"
#include "tests/fuzz/allocations.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/memory_loop.h"
#include "tests/fuzz/memory_stream.h"
#include "tests/fuzz/seen_frames.h"
#include "tests/rpc/connection_raw_peer.h"

namespace lever::rpc {
namespace {

constexpr size_t kInputBytesMax = 4 << 20;  // that steps may make of one input
constexpr size_t kStreamsMax = 300;         // that the users of a client start
// What a connection may hold beside what its users have queued: what limits.h says that it
// collects.
constexpr size_t kLiveFixedMax = 4 * kConnectionOutBytesMax;
constexpr size_t kLivePerStreamMax = kHeaderListBytesMax + 8192;

std::string_view Filler() {
  static const std::string filler(64 * 1024, '\0');
  return filler;
}

// Blocks for HPACK's static table and literals without indexing.
constexpr std::array<std::string_view, 10> kBlocks = {
    kRequestBlock,
    kResponseBlock,
    std::string_view("\x83\x86\x84\x41\x01x\x5f\x10"
                     "application/grpc",
                     24),
    std::string_view("\x00\x01x\x01y", 5),  // trailers
    std::string_view("\x08\x03"
                     "100",
                     5),  // ":status: 100"
    std::string_view("\x83\x86\x84\x41\x01x\x0f\x0d\x01"
                     "3",
                     10),  // content-length: 3
    std::string_view("\x88\x0f\x0d\x01"
                     "3",
                     5),
    std::string_view("\x83\x83\x86\x84", 4),  // :method twice
    std::string_view("\x40\x01"
                     "a\x01"
                     "b\xbe\xbe\xbe",
                     8),                   // into the table, and out
    std::string_view("\x3f\xe1\x7f", 3)};  // a table too large

class Run;

// A stream's user. What it does at each call follows from `mood`.
class User final : public StreamHandler {
 public:
  User(Run* run, Stream* stream, uint8_t mood) : run_(run), stream_(stream), mood_(mood) {}

  void OnHeaders(Stream& stream) override;
  void OnData(Stream& stream, Slice data) override;
  void OnRemoteEnd(Stream& stream) override;
  void OnWritable(Stream& stream) override;
  void OnClosed(Stream& stream, const StreamClose& close) override;

  void Act(uint8_t action);
  bool closed() const { return closed_; }
  size_t queued_bytes() const {
    return closed_ || stream_ == nullptr ? 0 : stream_->queued_bytes();
  }
  void set_stream(Stream* stream) { stream_ = stream; }

 private:
  enum Mood : uint8_t {
    kConsumes = 1,
    kAnswersAtOnce = 2,
    kEchoes = 4,
    kEndsAtEnd = 8,
    kResetsAtData = 16,
    kDestroysAtData = 32,
    kStartsAtEnd = 64,
    kClosesAtClosed = 128,
  };
  void Called(const Stream& stream) const;
  void Respond(Stream::End end);
  void Write(size_t size);

  friend class Run;
  Run* run_;
  Stream* stream_;
  const uint8_t mood_;
  bool closed_ = false;
  bool headers_seen_ = false;
  bool remote_ended_ = false;
  bool responded_ = false;
  size_t unconsumed_ = 0;
};

class Run final : public ConnectionHandler {
 public:
  explicit Run(fuzz::Input input) : input_(input), live_before_(fuzz::LiveBytes()) {}

  void Go() {
    Open(input_.Byte());
    while (!input_.empty() && wire_.to_read.size() < kInputBytesMax) Step(input_.Byte());
    Finish();
  }

  void OnRequest(Stream& stream) override {
    FUZZ_CHECK(!client_ && !closed_, "a request");
    FUZZ_CHECK(stream.headers().AccountedBytes() <= kHeaderListBytesMax, "larger than the limit");
    FUZZ_CHECK(stream.headers().size() <= kHeaderFieldsMax, "more fields than the limit");
    User& user = users_.emplace_back(this, &stream, mood_);
    stream.set_handler(&user);
    if ((mood_ & User::kAnswersAtOnce) != 0) user.Respond(Stream::End::kNo);
  }
  void OnReady(Connection&) override {
    FUZZ_CHECK(!ready_ && !closed_, "ready twice");
    ready_ = true;
  }
  void OnDraining(Connection&) override {
    FUZZ_CHECK(!draining_ && !closed_, "draining twice");
    draining_ = true;
  }
  void OnClosed(Connection& connection, const Status& status) override {
    FUZZ_CHECK(!closed_, "closed twice");
    FUZZ_CHECK(connection.open_streams() == 0, std::to_string(connection.open_streams()));
    CheckAllClosed();
    closed_ = true;
    if ((mood_ & User::kClosesAtClosed) != 0) connection_.reset();
  }

  void StartStream(uint8_t mood) {
    if (!client_ || connection_ == nullptr || users_.size() >= kStreamsMax) return;
    HeaderList headers;
    headers.Add(":method", "POST");
    headers.Add(":scheme", "http");
    headers.Add(":path", "/test");
    headers.Add(":authority", "test");
    const bool end = (mood & User::kDestroysAtData) != 0;
    User& user = users_.emplace_back(this, nullptr, mood);
    user.set_stream(
        connection_->StartStream(headers, end ? Stream::End::kYes : Stream::End::kNo, &user));
    user.responded_ = true;
    if (user.stream_ == nullptr) users_.pop_back();
  }
  void Destroy() { connection_.reset(); }
  void Close() {
    if (connection_ != nullptr && !closed_) connection_->Close(Cancelled("the user says so"));
  }

 private:
  void Open(uint8_t how) {
    client_ = (how & 1) != 0;
    mood_ = static_cast<uint8_t>(how >> 1);
    ConnectionOptions options;
    options.role = client_ ? Role::kClient : Role::kServer;
    fuzz::Do([&] {
      connection_ =
          std::move(Connection::Over(fuzz::TheLoop(), std::make_unique<fuzz::MemoryStream>(&wire_),
                                     options, this))
              .value();
    });
    // An input that wants another beginning says so in its first step.
    if ((how & 128) != 0) return;
    if (!client_) wire_.to_read += kClientMagic;
    Give(Frame(kFrameSettings, 0, 0));
    Settle();
  }

  bool alive() const { return connection_ != nullptr && !closed_; }

  void Give(std::string frame) {
    wire_.to_read += frame;
    last_frame_ = std::move(frame);
  }
  // Turns the loop until nothing is left to do.
  void Settle() {
    if (alive()) fuzz::Do([&] { fuzz::TheLoop()->MarkReady(connection_.get(), ready_events_); });
    ready_events_ = EPOLLIN;
    fuzz::Settle();
  }

  void Step(uint8_t step);
  void StepFrame(uint8_t step);
  void StepSettings();
  void StepRepeat();
  void StepConnection(uint8_t what);
  void Finish();
  void CheckMemory();
  void CheckAllClosed() const {
    for (const User& user : users_) FUZZ_CHECK(user.closed(), "a stream is left open");
  }
  uint32_t StreamId() { return input_.Byte(); }

  friend class User;
  fuzz::Input input_;
  const size_t live_before_;
  fuzz::Wire wire_;
  std::string last_frame_;
  uint32_t ready_events_ = EPOLLIN;
  uint8_t mood_ = 0;
  bool client_ = false;
  bool ready_ = false;
  bool draining_ = false;
  bool closed_ = false;
  std::deque<User> users_;
  std::unique_ptr<Connection> connection_;
};

// ---- The users ----

void User::Called(const Stream& stream) const {
  FUZZ_CHECK(!closed_, "called after OnClosed()");
  FUZZ_CHECK(!run_->closed_, "called after the connection's OnClosed()");
  FUZZ_CHECK(&stream == stream_, "another stream");
}

void User::Respond(Stream::End end) {
  if (responded_ || stream_->local_ended()) return;
  responded_ = true;
  HeaderList headers;
  headers.Add(":status", "200");
  headers.Add("content-type", "application/test");
  stream_->SendHeaders(headers, end);
}

void User::Write(size_t size) {
  if (!responded_ || stream_->local_ended() || !stream_->Writable()) return;
  stream_->Write(Slice::Static(Filler().substr(0, size)));
}

void User::OnHeaders(Stream& stream) {
  Called(stream);
  FUZZ_CHECK(run_->client_ && !headers_seen_ && !remote_ended_, "headers");
  FUZZ_CHECK(stream.headers().AccountedBytes() <= kHeaderListBytesMax, "larger than the limit");
  const auto status = stream.headers().Find(":status");
  FUZZ_CHECK(status && status->size() == 3 && (*status)[0] != '1', "no final status");
  headers_seen_ = true;
}

void User::OnData(Stream& stream, Slice data) {
  Called(stream);
  FUZZ_CHECK(!remote_ended_ && !data.empty(), "data");
  FUZZ_CHECK(!run_->client_ || headers_seen_, "data before headers");
  unconsumed_ += data.size();
  FUZZ_CHECK(unconsumed_ <= kStreamWindowBytes, std::to_string(unconsumed_));
  if ((mood_ & kConsumes) != 0) stream.Consume(std::exchange(unconsumed_, 0));
  if ((mood_ & kEchoes) != 0) Write(data.size());
  if ((mood_ & kResetsAtData) != 0) stream.Reset(kHttp2Cancel);
  if ((mood_ & kDestroysAtData) != 0 && (mood_ & kResetsAtData) == 0) run_->Destroy();
}

void User::OnRemoteEnd(Stream& stream) {
  Called(stream);
  FUZZ_CHECK(!remote_ended_, "the end twice");
  FUZZ_CHECK(stream.trailers().AccountedBytes() <= kHeaderListBytesMax, "larger than the limit");
  remote_ended_ = true;
  if ((mood_ & kEndsAtEnd) != 0) {
    if (!run_->client_) Respond(Stream::End::kNo);
    HeaderList trailers;
    trailers.Add("test-status", "0");
    if (responded_ && !run_->client_) stream.EndWithTrailers(trailers);
    if (run_->client_) stream.EndWrite();
  }
  if ((mood_ & kStartsAtEnd) != 0) run_->StartStream(mood_);
}

void User::OnWritable(Stream& stream) {
  Called(stream);
  FUZZ_CHECK(stream.queued_bytes() < kStreamQueuedBytesLow, std::to_string(stream.queued_bytes()));
  if ((mood_ & kEchoes) != 0) Write(kStreamQueuedBytesMax / 8);
}

void User::OnClosed(Stream& stream, const StreamClose& close) {
  Called(stream);
  closed_ = true;
  FUZZ_CHECK(run_->client_ || !close.never_written, "a request that was never written came");
  FUZZ_CHECK(!close.never_written || (!headers_seen_ && !remote_ended_),
             "answered, and never written");
  FUZZ_CHECK(close.error_code != 0 || close.connection_status.ok(),
             close.connection_status.ToString());
}

void User::Act(uint8_t action) {
  if (closed_ || stream_ == nullptr) return;
  HeaderList trailers;
  switch (action % 8) {
    case 0:
      stream_->Reset(action >> 3);
      break;
    case 1:
      stream_->Consume(std::exchange(unconsumed_, 0));
      break;
    case 2:
      Respond((action & 128) != 0 ? Stream::End::kYes : Stream::End::kNo);
      break;
    case 3:
      Write(size_t{1} << (action >> 3) % 17);
      break;
    case 4:
      if (responded_) stream_->EndWrite();
      break;
    case 5:
      trailers.Add("grpc-status", "0");
      if (responded_ && !run_->client_) stream_->EndWithTrailers(trailers);
      break;
    case 6: {
      const size_t some = unconsumed_ / 2;
      unconsumed_ -= some;
      stream_->Consume(some);
      break;
    }
    case 7:
      if (stream_->queued_bytes() >= kStreamQueuedBytesLow) stream_->WantWritable();
      break;
  }
}

// ---- The steps ----

void Run::Step(uint8_t step) {
  const uint8_t more = step >> 4;
  switch (step & 15) {
    case 0:
      Give(std::string(input_.Counted()));
      break;
    case 1:
    case 2:
    case 3:
    case 5:
    case 6:
    case 7:
      StepFrame(step);
      break;
    case 4:
      StepSettings();
      break;
    case 8:
      StepRepeat();
      break;
    case 9:
      Settle();
      break;
    case 10:
      fuzz::TheClock().Advance(int64_t{1} << input_.Byte() % 38);
      Settle();
      break;
    case 11: {
      const uint8_t room = input_.Byte();
      wire_.room = room == 255 ? SIZE_MAX : room == 0 ? 0 : size_t{1} << room % 24;
      ready_events_ |= EPOLLOUT;
      break;
    }
    case 12: {
      const size_t which = input_.Byte();
      const uint8_t action = input_.Byte();
      if (alive() && !users_.empty()) fuzz::Do([&] { users_[which % users_.size()].Act(action); });
      break;
    }
    case 13:
      StepConnection(more);
      break;
    case 14:
      wire_.read_ended = true;
      wire_.read_error = (more & 1) != 0 ? ECONNRESET : 0;
      ready_events_ |= (more & 2) != 0 ? EPOLLHUP : EPOLLRDHUP;
      break;
    case 15: {
      const size_t piece = input_.Byte();
      ((more & 1) != 0 ? wire_.read_piece : wire_.write_piece) = piece == 0 ? SIZE_MAX : piece;
      break;
    }
  }
}

void Run::StepFrame(uint8_t step) {
  const uint8_t more = step >> 4;
  const uint32_t stream = StreamId();
  switch (step & 15) {
    case 1: {
      const auto type = static_cast<FrameType>(input_.Byte() % 12);
      const uint8_t flags = input_.Byte();
      Give(Frame(type, flags, stream, input_.Counted()));
      break;
    }
    case 2: {
      const uint8_t block = input_.Byte();
      const uint8_t flags = more | ((more & 2) == 0 ? kFlagEndHeaders : 0);
      Give(Frame(kFrameHeaders, flags & 5, stream, kBlocks[block % kBlocks.size()]));
      break;
    }
    case 3:
      Give(Frame(kFrameData, more & 1, stream, Filler().substr(0, input_.Short() % 16385)));
      break;
    case 5:
      Give(Frame(kFrameWindowUpdate, 0, stream, Number(uint32_t{1} << input_.Byte() % 32)));
      break;
    case 6:
      Give(Frame(kFrameReset, 0, stream, Number(input_.Byte())));
      break;
    case 7:
      if ((more & 1) != 0) {
        Give(Frame(kFramePing, more >> 1, 0,
                   "lever"
                   "dr1"));
      } else {
        Give(Frame(kFrameGoaway, 0, 0, Number(stream) + Number(input_.Byte())));
      }
      break;
  }
}

void Run::StepSettings() {
  std::string payload;
  for (uint8_t count = input_.Byte() % 4; count > 0; --count) {
    const uint8_t id = input_.Byte();
    const uint8_t value = input_.Byte();
    payload += Number(id, 2) + Number((uint32_t{1} << (value & 31)) - (value >> 7));
  }
  Give(Frame(kFrameSettings, 0, 0, payload));
}

// The frame before once more, many times: what limits count.
void Run::StepRepeat() {
  const size_t times = (input_.Byte() + size_t{1}) * 8;
  if (last_frame_.empty() || times * last_frame_.size() > kInputBytesMax / 4) return;
  for (size_t i = 0; i < times; ++i) wire_.to_read += last_frame_;
}

void Run::StepConnection(uint8_t what) {
  if (!alive()) return;
  fuzz::Do([&] {
    switch (what) {
      case 0:
        connection_->Drain();
        break;
      case 1:
        Close();
        break;
      case 2:
        Destroy();
        break;
      default:
        StartStream(static_cast<uint8_t>(input_.Byte()));
        break;
    }
  });
}

void Run::CheckMemory() {
  size_t allowed = kLiveFixedMax + 4 * (wire_.to_read.capacity() + wire_.written.capacity());
  for (const User& user : users_)
    allowed += sizeof(User) + kLivePerStreamMax + 2 * user.queued_bytes();
  const size_t live = fuzz::LiveBytes();
  FUZZ_CHECK(live <= live_before_ + allowed,
             std::to_string(live - live_before_) + " bytes are held");
}

void Run::Finish() {
  Settle();
  CheckMemory();
  fuzz::CheckWritten(wire_.written, client_,
                     fuzz::WindowGiven(std::string_view(wire_.to_read).substr(0, wire_.read)));
  // The peer goes, and everything ends.
  wire_.read_ended = true;
  wire_.room = SIZE_MAX;
  ready_events_ = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
  Settle();
  if (alive()) {
    fuzz::TheClock().Advance(kLingerTimeoutNs + kGoawayPingTimeoutNs);
    ready_events_ = EPOLLIN | EPOLLOUT | EPOLLHUP;
    Settle();
  }
  FUZZ_CHECK(connection_ == nullptr || closed_,
             "the peer has gone, and the connection has not ended");
  CheckAllClosed();
  fuzz::Do([&] { connection_.reset(); });
  Settle();
}

}  // namespace
}  // namespace lever::rpc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  lever::rpc::Run(lever::fuzz::Input(data, size)).Go();
  return 0;
}
