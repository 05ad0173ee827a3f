// Packs a directory on a thread of its own, so that the bundle's beginning is on its way to the host
// before its end is packed.
//
// The bundle goes to a file without a name first, and not straight to the host: a directory is read in
// one go, however slow the way to the host is.
//
// Threads: those of its user, which is one.
//
// Invariants
//  1. fd() is readable after each change of what TakeNews() says.
//  2. Destroying it ends the packing; no thread is left.
#ifndef DAEMON_LEVER_BACKGROUND_PACKER_H_
#define DAEMON_LEVER_BACKGROUND_PACKER_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "liblever/base/fd.h"
#include "liblever/base/status.h"

namespace lever::cli {

class BackgroundPacker {
 public:
  struct Packed {
    uint64_t bytes = 0;  // that can be read
    bool whole = false;
  };

  static StatusOr<std::unique_ptr<BackgroundPacker>> Start(const std::string& directory);
  ~BackgroundPacker();
  BackgroundPacker(const BackgroundPacker&) = delete;
  BackgroundPacker& operator=(const BackgroundPacker&) = delete;

  int fd() const { return changed_.get(); }
  // How far it is; fd() is not readable then until that changes. What cannot be packed is an error.
  StatusOr<Packed> TakeNews();
  // `size` bytes of the bundle, which are there.
  StatusOr<std::string> Read(uint64_t offset, size_t size) const;

 private:
  BackgroundPacker(UniqueFd file, UniqueFd changed);
  void Pack(const std::string& directory);
  Status Take(std::string_view packed);
  void Tell();

  UniqueFd file_;
  UniqueFd changed_;  // an eventfd
  std::atomic<uint64_t> bytes_ = 0;
  std::atomic<bool> ended_ = false;
  std::atomic<bool> unwanted_ = false;
  Status status_;  // of the packing, once it has ended
  std::thread thread_;
};

}  // namespace lever::cli

#endif  // DAEMON_LEVER_BACKGROUND_PACKER_H_
