// The bundles that a host keeps, and the trees that they unpack to.
//
//   <data-dir>/uploads/<id>            a bundle that is coming in
//   <data-dir>/bundles/<hash>.lvb      a packed bundle: durable
//   <data-dir>/trees/<hash>/           its files: a cache
//   <data-dir>/trees/<hash>.complete   the marker of a whole tree, written last
//
// Names are hashes and ids, never names of services. A tree that has no marker, or whose marker is of
// an earlier boot (its files were never synced), is made anew from the bundle.
//
// Everything blocks on the disk: to be called on disk threads. The store is safe from any thread, an
// Upload is for one thread at a time.
//
// 1. A bundle is wholly there or wholly absent, whenever the host is killed: it is checked and synced, and
//    only then renamed to its name; the rename is synced before Commit() returns.
// 2. What is refused or broken off leaves nothing: an Upload removes its file, and Open() removes what
//    a killed host left.
// 3. At most two bundles are unpacked at a time: one that is still coming in, so that little is left
//    to do once its last byte is here, and of all others one.
#ifndef LIBLEVER_HOST_DEPLOY_BUNDLE_STORE_H_
#define LIBLEVER_HOST_DEPLOY_BUNDLE_STORE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/status.h"
#include "liblever/host/deploy/early_unpack.h"
#include "liblever/host/deploy/limits.h"
#include "liblever/host/deploy/unpack.h"

namespace lever::deploy {

class BundleStore {
 public:
  class Upload {
   public:
    ~Upload();
    Upload(const Upload&) = delete;
    Upload& operator=(const Upload&) = delete;

    // RESOURCE_EXHAUSTED above packed_bytes_max.
    Status Append(std::string_view bytes);
    int64_t bytes() const { return bytes_; }
    // Checks the bundle and makes it durable under its hash; the same content again changes nothing.
    StatusOr<BundleInfo> Commit();

   private:
    friend class BundleStore;
    Upload(BundleStore* store, std::string name, UniqueFd file);
    StatusOr<BundleInfo> Unpack();
    Status Keep(const std::string& hash);
    void EndEarly();

    BundleStore* store_;
    std::string name_;
    std::string tree_;  // what it is unpacked to, below trees/
    UniqueFd file_;
    int64_t bytes_ = 0;
    std::unique_ptr<EarlyUnpack> early_;  // none: unpacked by Commit()
  };

  // Makes the folders below `data_dir`, which must be there.
  static StatusOr<std::unique_ptr<BundleStore>> Open(const std::string& data_dir,
                                                     const BundleLimits& limits = {});

  const BundleLimits& limits() const { return limits_; }
  StatusOr<std::unique_ptr<Upload>> BeginUpload();
  // The path of the bundle's tree, unpacked now if need be. NOT_FOUND: there is no such bundle.
  StatusOr<std::string> EnsureUnpacked(const std::string& hash);
  // Removes every bundle and tree whose hash is not in `live`.
  Status CollectGarbage(const std::set<std::string>& live);

 private:
  BundleStore(std::string data_dir, const BundleLimits& limits, std::string boot_id);
  Status RemoveLeftovers();
  // Gives a tree that was unpacked under `temporary` its name, and its marker.
  Status AdoptTree(const std::string& temporary, const std::string& hash);
  bool TreeIsWhole(const std::string& hash) const;

  std::string data_dir_;
  BundleLimits limits_;
  std::string boot_id_;
  UniqueFd uploads_;
  UniqueFd bundles_;
  UniqueFd trees_;
  std::mutex trees_mutex_;  // one unpacking at a time
  std::atomic<bool> unpacks_early_ = false;
};

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_BUNDLE_STORE_H_
