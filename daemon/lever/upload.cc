#include "daemon/lever/upload.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "daemon/lever/deployment.h"
#include "daemon/lever/output.h"

namespace lever::cli {
namespace {

constexpr size_t kChunkBytes = 128 * 1024;

}  // namespace

Upload::Progress::Progress() : shown_(::isatty(STDERR_FILENO) == 1) {}

void Upload::Progress::Show(const std::string& line) {
  if (!shown_ || line == line_) return;
  line_ = line;
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
}

void Upload::Progress::Clear() {
  if (!line_.empty()) std::fprintf(stderr, "\r\033[K");
  line_.clear();
}

// Sends the bundle piece by piece, as it is packed and as the host takes it.
Upload::Upload(Connection* connection, std::unique_ptr<BackgroundPacker> packer)
    : connection_(connection),
      packer_(std::move(packer)),
      stream_(connection, {.on_message = [this](const Payload& payload) { return OnMessage(payload); },
                           .on_writable = [this] { return Send(); },
                           .on_input = [this] { return Send(); },
                           .on_quiet = [this] { return ShowLife(); }}) {
  stream_.set_input_fd(packer_->fd());
}

StatusOr<std::unique_ptr<Upload>> Upload::Begin(Connection* connection,
                                                const std::string& directory,
                                                const std::string& environment,
                                                const lever::v1::DeployBegin& terms) {
  lever::v1::DeployRequest begin;
  *begin.mutable_begin() = terms;
  begin.mutable_begin()->set_environment(environment);
  // Read anew: the build may have written it.
  LEVER_ASSIGN_OR_RETURN(*begin.mutable_begin()->mutable_manifest_json(), ReadManifest(directory));
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<BackgroundPacker> packer,
                         BackgroundPacker::Start(directory));
  std::unique_ptr<Upload> upload(new Upload(connection, std::move(packer)));
  upload->progress_.Show("packing");
  LEVER_RETURN_IF_ERROR(upload->stream_.Open(
      {"/lever.v1.Admin/Deploy", {LEVER_KIND_RAW, begin.SerializeAsString()}, LEVER_CALL_GRPC}));
  return upload;
}

void Upload::AwaitStart() {
  while (!ended() && last_.step() != lever::v1::DeployProgress::STARTING &&
         last_.step() != lever::v1::DeployProgress::WATCHING) {
    broken_ = stream_.RunTurn(CallStream::kQuietMs);
  }
  progress_.Clear();
}

void Upload::AwaitEnd() {
  while (!ended()) broken_ = stream_.RunTurn(CallStream::kQuietMs);
  progress_.Clear();
}

void Upload::OnWake() {
  broken_ = stream_.RunTurn(0);
  progress_.Clear();
}

StatusOr<lever::v1::DeployProgress> Upload::Result() {
  LEVER_RETURN_IF_ERROR(broken_);
  LEVER_RETURN_IF_ERROR(stream_.TakeOutcome().status);
  if (last_.step() != lever::v1::DeployProgress::DONE) {
    return Internal("the host ended the deploy without a result");
  }
  return last_;
}

Status Upload::Send() {
  LEVER_ASSIGN_OR_RETURN(const BackgroundPacker::Packed packed, packer_->TakeNews());
  while (true) {
    if (!pending_) LEVER_RETURN_IF_ERROR(ReadPiece(packed));
    if (!pending_) break;
    LEVER_ASSIGN_OR_RETURN(const bool written, stream_.Write(*pending_));
    if (!written) return Status::Ok();
    pending_.reset();
    progress_.Show("uploading " + Size(offset_) +
                    (packed.whole ? " of " + Size(packed.bytes) : ""));
  }
  if (!packed.whole || std::exchange(closed_, true)) return Status::Ok();
  stream_.set_input_fd(-1);
  return stream_.CloseSend();
}

Status Upload::ReadPiece(const BackgroundPacker::Packed& packed) {
  const uint64_t left = packed.bytes - offset_;
  if (left == 0) return Status::Ok();
  lever::v1::DeployRequest request;
  LEVER_ASSIGN_OR_RETURN(*request.mutable_chunk(),
                         packer_->Read(offset_, std::min<uint64_t>(left, kChunkBytes)));
  offset_ += request.chunk().size();
  pending_ = Payload{LEVER_KIND_RAW, request.SerializeAsString()};
  return Status::Ok();
}

// An empty piece, so that a host does not give up a client whose disk is slow.
Status Upload::ShowLife() {
  if (closed_ || pending_) return Status::Ok();
  lever::v1::DeployRequest request;
  request.mutable_chunk();
  return stream_.Write({LEVER_KIND_RAW, request.SerializeAsString()}).status();
}

Status Upload::OnMessage(const Payload& payload) {
  using lever::v1::DeployProgress;
  LEVER_RETURN_IF_ERROR(ParseReply(payload, &last_));
  switch (last_.step()) {
    case DeployProgress::RECEIVED:
      progress_.Show("checking");
      break;
    case DeployProgress::STORED:
      progress_.Show("stored");
      break;
    case DeployProgress::STARTING:
      progress_.Show("starting");
      break;
    case DeployProgress::WATCHING:
      progress_.Show("serves, and is watched");
      break;
    default:
      break;
  }
  return Status::Ok();
}

}  // namespace lever::cli
