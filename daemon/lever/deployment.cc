#include "daemon/lever/deployment.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "daemon/lever/background_packer.h"
#include "daemon/lever/call_stream.h"
#include "daemon/lever/output.h"
#include "liblever/base/fd.h"

namespace lever::cli {
namespace {

constexpr size_t kChunkBytes = 128 * 1024;

// The upload's state, shown on a terminal as one line that is written over.
class Progress {
 public:
  Progress() : shown_(::isatty(STDERR_FILENO) == 1) {}
  ~Progress() { Clear(); }
  void Show(const std::string& line) {
    if (!shown_ || line == line_) return;
    line_ = line;
    std::fprintf(stderr, "\r\033[K%s", line.c_str());
    std::fflush(stderr);
  }
  void Clear() {
    if (!line_.empty()) std::fprintf(stderr, "\r\033[K");
    line_.clear();
  }

 private:
  bool shown_;
  std::string line_;
};

// Sends the bundle piece by piece, as it is packed and as the host takes it.
class Uploader {
 public:
  Uploader(Connection* connection, BackgroundPacker* packer, Progress* progress)
      : packer_(packer),
        progress_(progress),
        stream_(connection,
                {.on_message = [this](const Payload& payload) { return OnMessage(payload); },
                 .on_writable = [this] { return Send(); },
                 .on_input = [this] { return Send(); },
                 .on_quiet = [this] { return ShowLife(); }}) {
    stream_.set_input_fd(packer->fd());
  }

  Outcome Run(const lever::v1::DeployRequest& begin) {
    Status status = stream_.Open(
        {"/lever.v1.Admin/Deploy", {LEVER_KIND_RAW, begin.SerializeAsString()}, LEVER_CALL_GRPC});
    if (!status.ok()) return {std::move(status), {}};
    Outcome outcome = stream_.Run();
    if (outcome.status.ok() && !done_) {
      outcome.status = Internal("the host ended the deploy without a result");
    }
    return outcome;
  }
  const lever::v1::DeployProgress& result() const { return result_; }

 private:
  Status Send() {
    LEVER_ASSIGN_OR_RETURN(const BackgroundPacker::Packed packed, packer_->TakeNews());
    while (true) {
      if (!pending_) LEVER_RETURN_IF_ERROR(ReadPiece(packed));
      if (!pending_) break;
      LEVER_ASSIGN_OR_RETURN(const bool written, stream_.Write(*pending_));
      if (!written) return Status::Ok();
      pending_.reset();
      progress_->Show("uploading " + Size(offset_) +
                      (packed.whole ? " of " + Size(packed.bytes) : ""));
    }
    if (!packed.whole || std::exchange(closed_, true)) return Status::Ok();
    stream_.set_input_fd(-1);
    return stream_.CloseSend();
  }
  Status ReadPiece(const BackgroundPacker::Packed& packed) {
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
  Status ShowLife() {
    if (closed_ || pending_) return Status::Ok();
    lever::v1::DeployRequest request;
    request.mutable_chunk();
    return stream_.Write({LEVER_KIND_RAW, request.SerializeAsString()}).status();
  }
  Status OnMessage(const Payload& payload) {
    using lever::v1::DeployProgress;
    LEVER_RETURN_IF_ERROR(ParseReply(payload, &result_));
    switch (result_.step()) {
      case DeployProgress::RECEIVED:
        progress_->Show("checking");
        break;
      case DeployProgress::STORED:
        progress_->Show("stored");
        break;
      case DeployProgress::STARTING:
        progress_->Show("starting");
        break;
      case DeployProgress::DONE:
        done_ = true;
        break;
      default:
        break;
    }
    return Status::Ok();
  }

  BackgroundPacker* packer_;
  Progress* progress_;
  CallStream stream_;
  uint64_t offset_ = 0;
  std::optional<Payload> pending_;
  bool closed_ = false;
  bool done_ = false;
  lever::v1::DeployProgress result_;
};

}  // namespace

StatusOr<std::string> ReadManifest(const std::string& directory) {
  const std::string path = directory + "/" + std::string(deploy::kManifestFile);
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return NotFound("there is no " + path + ": a service's directory has one at its root");
    }
    return ErrnoStatus(errno, path);
  }
  std::string text(deploy::kManifestBytesMax + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0) return ErrnoStatus(errno, path);
    if (count == 0) break;
    size += static_cast<size_t>(count);
  }
  text.resize(size);
  return text;
}

StatusOr<deploy::Manifest> BuildService(const std::string& directory, const BuildOptions& options) {
  LEVER_ASSIGN_OR_RETURN(const std::string text, ReadManifest(directory));
  LEVER_ASSIGN_OR_RETURN(deploy::Manifest manifest, deploy::ParseManifest(text));
  if (manifest.build.empty()) return manifest;
  std::string line = "build:";
  for (const std::string& argument : manifest.build) line += " " + argument;
  Note(Plain(line));
  LEVER_RETURN_IF_ERROR(RunBuild(directory, manifest.build, options));
  return manifest;
}

StatusOr<lever::v1::DeployProgress> PackAndUpload(Connection* connection,
                                                  const std::string& directory,
                                                  const std::string& environment,
                                                  StartFirst start_first) {
  Progress progress;
  progress.Show("packing");
  lever::v1::DeployRequest begin;
  begin.mutable_begin()->set_environment(environment);
  begin.mutable_begin()->set_start(start_first == StartFirst::kYes);
  // Read anew: the build may have written it.
  LEVER_ASSIGN_OR_RETURN(*begin.mutable_begin()->mutable_manifest_json(), ReadManifest(directory));
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<BackgroundPacker> packer,
                         BackgroundPacker::Start(directory));
  Uploader uploader(connection, packer.get(), &progress);
  const Outcome outcome = uploader.Run(begin);
  progress.Clear();
  LEVER_RETURN_IF_ERROR(outcome.status);
  return uploader.result();
}

}  // namespace lever::cli
