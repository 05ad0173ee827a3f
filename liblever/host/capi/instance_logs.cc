#include "liblever/host/capi/instance_logs.h"

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "liblever/host/fleet/log_filter.h"
#include "liblever/host/fleet/log_history.h"

namespace lever::host {
namespace {

admin::LogRecord ToRecord(fleet::LogLine line) {
  return {
      std::move(line.environment), std::move(line.service), std::move(line.instance), line.version,
      line.time_unix_ns,           line.is_stderr,          std::move(line.text),     line.lost};
}

// The past, a step at a time on the disk threads. Shared with the step under way, which may end
// after the follower has.
class Past : public std::enable_shared_from_this<Past> {
 public:
  Past(deploy::Execute execute, Loop* loop, std::shared_ptr<fleet::LogHistory> history,
       std::function<void()> wake)
      : execute_(std::move(execute)),
        loop_(loop),
        history_(std::move(history)),
        wake_(std::move(wake)) {}

  bool over() const { return over_ && lines_.empty(); }
  // Not OK: the disk threads take nothing more, and it ended before it was over.
  const Status& status() const { return status_; }
  // Empty: `wake` is called when there are lines, or it is over.
  std::vector<admin::LogRecord> Take(size_t lines_max) {
    std::vector<admin::LogRecord> records;
    while (!lines_.empty() && records.size() < lines_max) {
      records.push_back(ToRecord(std::move(lines_.front())));
      lines_.pop_front();
    }
    if (records.empty()) Ask();
    return records;
  }

 private:
  void Ask() {
    if (over_ || std::exchange(asked_, true)) return;
    deploy::RunOnPool(
        execute_, loop_,
        [history = history_] { return StatusOr<std::vector<fleet::LogLine>>(history->Step()); },
        [weak = weak_from_this()](StatusOr<std::vector<fleet::LogLine>> lines) {
          if (const auto self = weak.lock()) self->Answered(std::move(lines));
        });
  }

  void Answered(StatusOr<std::vector<fleet::LogLine>> lines) {
    asked_ = false;
    status_ = lines.status();
    over_ = !lines.ok() || history_->done();
    if (lines.ok()) {
      lines_.assign(std::make_move_iterator(lines->begin()), std::make_move_iterator(lines->end()));
    }
    // It may destroy this.
    const std::function<void()> wake = wake_;
    wake();
  }

  const deploy::Execute execute_;
  Loop* const loop_;
  const std::shared_ptr<fleet::LogHistory> history_;
  const std::function<void()> wake_;
  std::deque<fleet::LogLine> lines_;
  bool asked_ = false;
  bool over_ = false;
  Status status_;
};

class Follower final : public admin::LogFollower {
 public:
  // Lines that one Take() looks at before the loop has its turn.
  static constexpr size_t kLooksMax = 1024;

  Follower(std::unique_ptr<fleet::LogReader> reader, std::shared_ptr<Past> past,
           fleet::LogFilter filter, bool follow, std::function<void()> again)
      : reader_(std::move(reader)),
        past_(std::move(past)),
        filter_(std::move(filter)),
        follow_(follow),
        again_(std::move(again)) {}

  std::vector<admin::LogRecord> Take(size_t lines_max) override {
    if (past_ != nullptr) {
      std::vector<admin::LogRecord> records = past_->Take(lines_max);
      if (!records.empty() || !past_->over()) return records;
      if (!past_->status().ok()) {
        end_ = past_->status();
        return {};
      }
      past_.reset();
    }
    for (size_t looked = 0; looked < kLooksMax;) {
      std::vector<fleet::LogLine> lines = reader_->Take(lines_max);
      if (lines.empty()) {
        if (!follow_) end_ = Status::Ok();
        return {};
      }
      looked += lines.size();
      std::vector<admin::LogRecord> records;
      for (fleet::LogLine& line : lines) {
        lost_ += line.lost;
        if (!filter_.Passes(line.time_unix_ns, line.text)) continue;
        line.lost = std::exchange(lost_, 0);
        records.push_back(ToRecord(std::move(line)));
      }
      if (!records.empty()) return records;
    }
    again_();
    return {};
  }
  std::optional<Status> end() const override { return end_; }

 private:
  const std::unique_ptr<fleet::LogReader> reader_;
  std::shared_ptr<Past> past_;  // null: told
  const fleet::LogFilter filter_;
  const bool follow_;
  const std::function<void()> again_;  // wakes in a later turn
  uint64_t lost_ = 0;                  // not told yet
  std::optional<Status> end_;
};

}  // namespace

InstanceLogs::InstanceLogs(std::shared_ptr<fleet::LogStore> store, deploy::Execute execute)
    : store_(std::move(store)), execute_(std::move(execute)), book_([this] {
        fleet::LogBookOptions options;
        options.store = store_;
        return options;
      }()) {}

void InstanceLogs::Begin(const scale::OutputSource& source) {
  book_.Begin({source.instance_key, source.environment, source.service, source.instance,
               source.version});
}

StatusOr<std::unique_ptr<admin::LogFollower>> InstanceLogs::Open(admin::LogQuery query, Loop* loop,
                                                                 std::function<void()> wake) {
  LEVER_ASSIGN_OR_RETURN(fleet::LogFilter filter,
                         fleet::LogFilter::Make(query.since_unix_ns, query.pattern));
  const bool plain = query.pattern.empty() && query.since_unix_ns <= 0 && query.tail != SIZE_MAX;
  fleet::LogSelection selection{query.environment, query.service, plain ? query.tail : 0,
                                query.follow};
  std::unique_ptr<fleet::LogReader> reader = book_.Open(selection, loop, wake);
  std::shared_ptr<Past> past;
  if (query.tail > 0 && !(plain && reader->tail_is_whole())) {
    // The book is opened anew where it would give the same lines again.
    if (selection.tail > 0) {
      selection.tail = 0;
      reader = book_.Open(selection, loop, wake);
    }
    past = std::make_shared<Past>(
        execute_, loop,
        std::make_shared<fleet::LogHistory>(
            store_, fleet::LogHistoryQuery{query.environment, query.service, filter, query.tail,
                                           reader->open_number()}),
        wake);
  }
  return std::unique_ptr<admin::LogFollower>(
      std::make_unique<Follower>(std::move(reader), std::move(past), std::move(filter),
                                 query.follow, [loop, wake] { loop->Post(wake); }));
}

}  // namespace lever::host
