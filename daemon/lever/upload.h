// A service's directory on its way to a host: packed, and uploaded meanwhile.
//
// One thread, which is that of the connection.
//
//   Begin() -> AwaitEnd()                              for who has nothing else to do
//   Begin() -> AwaitStart(); fd() readable: OnWake()   for who has: until ended()
//
// On a terminal a line shows how far it is, while it is waited for.
#ifndef DAEMON_LEVER_UPLOAD_H_
#define DAEMON_LEVER_UPLOAD_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "daemon/lever/background_packer.h"
#include "daemon/lever/call_stream.h"
#include "daemon/lever/connection.h"
#include "lever/v1/admin.pb.h"
#include "liblever/base/status.h"

namespace lever::cli {

class Upload {
 public:
  // Outlived by `connection`.
  static StatusOr<std::unique_ptr<Upload>> Begin(Connection* connection,
                                                 const std::string& directory,
                                                 const std::string& environment,
                                                 const lever::v1::DeployBegin& terms);
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // Until the host starts the version, or it has ended.
  void AwaitStart();
  void AwaitEnd();

  // Readable when OnWake(), which does not wait, has something to do.
  int fd() const { return lever_queue_fd(connection_->queue()); }
  void OnWake();

  // The host is done with it, or has refused it, or cannot be heard any more.
  bool ended() const { return stream_.ended() || !broken_.ok(); }
  // Once it has ended.
  StatusOr<lever::v1::DeployProgress> Result();

 private:
  // The upload's state, shown on a terminal as one line that is written over.
  class Progress {
   public:
    Progress();
    ~Progress() { Clear(); }
    void Show(const std::string& line);
    void Clear();

   private:
    bool shown_;
    std::string line_;
  };

  Upload(Connection* connection, std::unique_ptr<BackgroundPacker> packer);
  Status Send();
  Status ReadPiece(const BackgroundPacker::Packed& packed);
  Status ShowLife();
  Status OnMessage(const Payload& payload);

  Progress progress_;
  Connection* connection_;
  std::unique_ptr<BackgroundPacker> packer_;
  CallStream stream_;
  Status broken_;  // nothing can be waited for any more
  uint64_t offset_ = 0;
  std::optional<Payload> pending_;
  bool closed_ = false;
  lever::v1::DeployProgress last_;  // that the host has said
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_UPLOAD_H_
