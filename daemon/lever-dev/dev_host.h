// The host of `lever dev`: listens on loopback, runs services as whoever runs the command, and keeps its
// data in a temporary directory that goes with it, unless it is given one.
//
// One thread; its own are liblever-host's.
//
// Invariant: the temporary directory is removed when the object is destroyed, or by RemoveTemporary().
#ifndef DAEMON_LEVER_DEV_DEV_HOST_H_
#define DAEMON_LEVER_DEV_DEV_HOST_H_

#include <memory>
#include <string>
#include <vector>

#include "daemon/lever/command.h"
#include "lever/host.h"
#include "liblever/base/status.h"

namespace lever::cli {

class DevHost {
 public:
  // Without `listen`: the usual port, or a free one if that is taken.
  static StatusOr<std::unique_ptr<DevHost>> Start(const DevArguments& arguments);
  // Not before it has ended.
  ~DevHost();
  DevHost(const DevHost&) = delete;
  DevHost& operator=(const DevHost&) = delete;

  const std::string& address() const { return address_; }
  // Why it is not the usual address; empty if it is, or was asked for.
  const std::string& moved() const { return moved_; }
  const std::string& data_dir() const { return data_dir_; }
  bool is_temporary() const { return temporary_; }

  void Close() { lever_host_close(host_); }
  bool Ended(int64_t timeout_ns) { return lever_host_wait(host_, timeout_ns) == LEVER_OK; }
  void RemoveTemporary();

 private:
  DevHost() = default;
  Status OpenDataDir(const std::string& given);
  Status Listen(const std::string& address, const std::vector<std::string>& upstreams);

  lever_host* host_ = nullptr;
  std::string address_;
  std::string moved_;
  std::string data_dir_;
  bool temporary_ = false;
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_DEV_HOST_H_
