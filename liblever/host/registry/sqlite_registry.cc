#include "liblever/host/registry/sqlite_registry.h"

#include <pthread.h>

#include <cassert>
#include <csignal>
#include <thread>

#include "liblever/host/registry/data_dir_lock.h"
#include "liblever/host/registry/files.h"
#include "liblever/host/registry/inbox.h"
#include "liblever/host/registry/migration.h"
#include "liblever/host/registry/sqlite_db.h"
#include "liblever/host/registry/store.h"
#include "liblever/host/registry/validate.h"
#include "liblever/host/registry/watches.h"
#include "liblever/host/registry/writer.h"

namespace lever::registry {
namespace {

// A request's place in the queue, whatever it carries.
constexpr size_t kRequestBytes = 256;

}  // namespace

struct SqliteRegistry::Parts {
  std::shared_ptr<Inbox> inbox;
  std::shared_ptr<Watches> watches;
  std::unique_ptr<Writer> writer;
  std::thread thread;

  // Answers a request that is not taken in.
  template <typename Result>
  void Refuse(Done<Result> done, Status status) {
    inbox->Post([done = std::move(done), status = std::move(status)] { done(status); });
  }
};

StatusOr<std::unique_ptr<SqliteRegistry>> SqliteRegistry::Open(
    const SqliteRegistryOptions& options) {
  assert(options.executor != nullptr && options.clock != nullptr);
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<DataDirLock> lock, DataDirLock::Take(options.directory));
  const std::string path = options.directory + "/registry.db";
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Database> database, Database::Open(path, options.vfs));
  LEVER_RETURN_IF_ERROR(OpenSchema(database.get(), Migrations(), options.store_bytes_max));
  LEVER_RETURN_IF_ERROR(SyncDirectoryOf(path));
  std::string boot_id = options.boot_id;
  if (boot_id.empty()) {
    LEVER_ASSIGN_OR_RETURN(boot_id, ReadBootId());
  }
  const Store::Bounds bounds{options.ephemeral_bytes_max,
                             options.leases_max,
                             {options.history_changes_max, options.history_bytes_max}};
  LEVER_ASSIGN_OR_RETURN(std::unique_ptr<Store> store,
                         Store::Load(std::move(database), boot_id, bounds));

  auto parts = std::make_unique<Parts>();
  parts->inbox =
      std::make_shared<Inbox>(options.executor, options.clock,
                              Inbox::Bounds{options.pending_max, options.pending_bytes_max});
  parts->watches = std::make_shared<Watches>(parts->inbox, options.watches_max);
  parts->writer =
      std::make_unique<Writer>(std::move(lock), std::move(store), parts->inbox, parts->watches);
  return std::unique_ptr<SqliteRegistry>(new SqliteRegistry(std::move(parts)));
}

SqliteRegistry::SqliteRegistry(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {
  // Signals belong to the program's own threads, whichever program embeds the host.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  parts_->thread = std::thread([writer = parts_->writer.get()] {
    pthread_setname_np(pthread_self(), "lever-registry");
    writer->Run();
  });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

SqliteRegistry::~SqliteRegistry() {
  parts_->inbox->Close(nullptr);
  parts_->thread.join();
}

void SqliteRegistry::Get(std::string key, Done<GetResult> done) {
  Status status = ValidateKey(key);
  if (!status.ok()) return parts_->Refuse(std::move(done), std::move(status));
  const size_t bytes = kRequestBytes + key.size();
  parts_->inbox->Add(GetJob{std::move(key), std::move(done), bytes, 0, {}});
}

void SqliteRegistry::Range(RangeRequest request, Done<RangeResult> done) {
  Status status = ValidateRange(request);
  if (!status.ok()) return parts_->Refuse(std::move(done), std::move(status));
  const size_t bytes = kRequestBytes + request.prefix.size() + request.after.size();
  parts_->inbox->Add(RangeJob{std::move(request), std::move(done), bytes, 0, {}});
}

void SqliteRegistry::Commit(Transaction transaction, Done<TransactionResult> done) {
  Status status = ValidateTransaction(transaction);
  if (!status.ok()) return parts_->Refuse(std::move(done), std::move(status));
  const size_t bytes = kRequestBytes + TransactionBytes(transaction);
  parts_->inbox->Add(CommitJob{std::move(transaction), std::move(done), bytes, 0, {}});
}

void SqliteRegistry::GrantLease(int64_t ttl_ns, Done<Lease> done) {
  Status status = ValidateTtl(ttl_ns);
  if (!status.ok()) return parts_->Refuse(std::move(done), std::move(status));
  parts_->inbox->AddLease(GrantJob{{ttl_ns}, std::move(done), 0, 0, {}});
}

void SqliteRegistry::KeepAlive(LeaseId lease, Done<Lease> done) {
  parts_->inbox->AddLease(KeepAliveJob{{lease}, std::move(done), 0, 0, {}});
}

void SqliteRegistry::RevokeLease(LeaseId lease, Done<Revision> done) {
  parts_->inbox->Add(RevokeJob{{lease}, std::move(done), kRequestBytes, 0, {}});
}

WatchId SqliteRegistry::Watch(WatchRequest request, WatchCallback callback) {
  return parts_->watches->Add(std::move(request), std::move(callback));
}

void SqliteRegistry::CancelWatch(WatchId watch) { parts_->watches->Cancel(watch); }

void SqliteRegistry::Close(std::function<void()> closed) {
  parts_->inbox->Close(std::move(closed));
}

void SqliteRegistry::ClockMoved() { parts_->inbox->Wake(); }

void SqliteRegistry::InjectCompacted() { parts_->writer->InjectCompacted(); }

}  // namespace lever::registry
