#include "liblever/host/registry/writer.h"

#include <algorithm>
#include <utility>

#include "liblever/base/log.h"

namespace lever::registry {
namespace {

Status Closed() { return Cancelled("registry: it was closed").WithExecuted(LEVER_EXECUTED_NO); }

// Answers with the result that was worked out.
void AnswerWithResult(Inbox* inbox, StoreJob* job) {
  std::visit(
      [inbox](auto& each) {
        auto result = *std::move(each.result);
        inbox->Answer(std::move(each), std::move(result));
      },
      *job);
}

void SetError(StoreJob* job, const Status& status) {
  std::visit([&](auto& each) { each.result = status; }, *job);
}

bool IsTransaction(const StoreJob& job) { return std::holds_alternative<CommitJob>(job); }

}  // namespace

void Writer::Run() {
  for (;;) {
    Work work = inbox_->Take(store_->leases().NextDeadlineNs());
    if (work.closing) {
      for (StoreJob& job : work.jobs) {
        SetError(&job, Closed());
        AnswerWithResult(inbox_.get(), &job);
      }
      for (LeaseJob& job : work.leases) {
        std::visit([this](auto& each) { inbox_->Answer(std::move(each), Closed()); }, job);
      }
      break;
    }
    Round(std::move(work));
  }
  Finish();
}

void Writer::Round(Work work) {
  if (inject_compacted_.exchange(false)) {
    store_->CompactHistory();
    watches_->EndAll(OutOfRange("registry: compacted; read the range again"));
  }
  watches_->Start(store_->revision());
  store_->ReserveRevisions();
  // Keep-alives before the leases are judged, judgement before whatever relies on the leases.
  CarryOutLeases(std::move(work.leases), work.now_ns);
  EndLeasesDue(work.now_ns);
  CarryOut(std::move(work.jobs));
  watches_->Deliver(store_->history(), store_->revision());
  store_->Checkpoint();
}

void Writer::InjectCompacted() {
  inject_compacted_ = true;
  inbox_->Wake();
}

void Writer::CarryOutLeases(std::vector<LeaseJob> jobs, int64_t now_ns) {
  for (LeaseJob& job : jobs) {
    if (auto* grant = std::get_if<GrantJob>(&job)) {
      StatusOr<Lease> lease = store_->leases().Grant(grant->arguments.ttl_ns, now_ns);
      inbox_->Answer(std::move(*grant), std::move(lease));
    } else {
      auto& renew = std::get<KeepAliveJob>(job);
      StatusOr<Lease> lease = store_->leases().KeepAlive(renew.arguments.lease, renew.received_ns);
      inbox_->Answer(std::move(renew), std::move(lease));
    }
  }
}

void Writer::EndLeasesDue(int64_t now_ns) {
  for (const LeaseId lease : store_->leases().DueAt(now_ns)) {
    const StatusOr<Revision> ended = store_->EndLease(lease);
    // It stays due, and is tried again in the next round.
    if (!ended.ok()) Log(LogLevel::kWarning, ended.status().message());
  }
}

void Writer::CarryOut(std::vector<StoreJob> jobs) {
  auto begin = jobs.begin();
  while (begin != jobs.end()) {
    const auto end = std::find_if(begin, jobs.end(), [](const StoreJob& job) {
      return std::holds_alternative<RevokeJob>(job);
    });
    CarryOutGroup(std::span(begin, end));
    begin = end;
    if (begin == jobs.end()) break;
    AnswerRevoke(std::get<RevokeJob>(std::move(*begin)));
    ++begin;
  }
}

void Writer::CarryOutGroup(std::span<StoreJob> group) {
  staged_bytes_ = 0;
  if (group.size() == 1) return CarryOutAlone(&group.front());
  for (StoreJob& job : group) {
    Apply(&job);
    if (!store_->group_status().ok()) break;
  }
  Status status = store_->group_status();
  bool perhaps_kept = false;
  if (status.ok()) {
    status = store_->Commit();
    perhaps_kept = store_->disk_failed();
  } else {
    store_->Rollback();
  }
  for (StoreJob& job : group) {
    if (!status.ok() && !(perhaps_kept && IsTransaction(job))) {
      CarryOutAlone(&job);
      continue;
    }
    // After a failed sync nobody can tell what a crash would leave: that is the answer, and the
    // transaction is not tried again.
    if (!status.ok()) SetError(&job, status);
    AnswerWithResult(inbox_.get(), &job);
  }
}

void Writer::CarryOutAlone(StoreJob* job) {
  staged_bytes_ = 0;
  Apply(job);
  if (!store_->group_status().ok()) {
    // Nothing was committed, so nothing is left behind.
    SetError(job, store_->group_status().WithExecuted(LEVER_EXECUTED_NO));
    store_->Rollback();
  } else if (const Status status = store_->Commit(); !status.ok()) {
    SetError(job, status);
  }
  AnswerWithResult(inbox_.get(), job);
}

void Writer::Apply(StoreJob* job) {
  if (auto* get = std::get_if<GetJob>(job)) {
    get->result = Stage(store_->Get(get->arguments));
  } else if (auto* range = std::get_if<RangeJob>(job)) {
    range->result = Stage(store_->Range(range->arguments));
  } else if (auto* commit = std::get_if<CommitJob>(job)) {
    commit->result = store_->Apply(commit->arguments);
  }
}

template <typename Result>
StatusOr<Result> Writer::Stage(StatusOr<Result> result) {
  if (!result.ok()) return result;
  staged_bytes_ += ResultBytes(*result);
  if (inbox_->HasRoom(staged_bytes_)) return result;
  staged_bytes_ -= ResultBytes(*result);
  return ResourceExhausted("registry: too many answers are waiting to be taken; try later")
      .WithExecuted(LEVER_EXECUTED_NO);
}

void Writer::AnswerRevoke(RevokeJob job) {
  StatusOr<Revision> revision = store_->EndLease(job.arguments.lease);
  inbox_->Answer(std::move(job), std::move(revision));
}

void Writer::Finish() {
  watches_->EndAll(Closed(), Closed());
  store_.reset();
  lock_.reset();
  inbox_->WriterEnded();
}

}  // namespace lever::registry
