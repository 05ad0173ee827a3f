#include "liblever/host/scale/shard_store.h"

#include <algorithm>
#include <cassert>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "liblever/host/registry/scan.h"
#include "liblever/host/registry/schema.h"

namespace lever::scale {
namespace {

using nlohmann::json;
using policy::ShardRow;

constexpr uint32_t kShardsPerPage = registry::kShardsPerOwnerPage;
// Of a transaction, less what the counter and the keys take.
constexpr size_t kBatchBytesMax = registry::kTransactionBytesMax - 64 * 1024;
constexpr size_t kBatchPagesMax = registry::kTransactionOperationsMax / 2;

Status Unreadable() { return DataLoss("a service's shards in the registry cannot be read"); }

std::optional<ShardRow> ParseRow(const json& row, const std::vector<std::string>& ids) {
  if (!row.is_array() || row.size() != 5) return std::nullopt;
  for (const json& number : row) {
    if (!number.is_number_integer()) return std::nullopt;
  }
  const auto id = [&](const json& number) -> std::optional<std::string> {
    const int64_t index = number.get<int64_t>();
    if (index == -1) return std::string();
    if (index < 0 || index >= static_cast<int64_t>(ids.size())) return std::nullopt;
    return ids[static_cast<size_t>(index)];
  };
  const auto owner = id(row[0]);
  const auto from = id(row[2]);
  if (!owner || !from) return std::nullopt;
  return ShardRow{*owner, row[1].get<uint64_t>(), *from, row[3].get<uint64_t>(),
                  row[4].get<int64_t>() != 0};
}

}  // namespace

std::string EncodeShardPage(const std::vector<ShardRow>& rows) {
  std::map<std::string_view, int64_t> ids;
  for (const ShardRow& row : rows) {
    if (!row.owner.empty()) ids.emplace(row.owner, 0);
    if (!row.from.empty()) ids.emplace(row.from, 0);
  }
  json names = json::array();
  for (auto& [id, index] : ids) {
    index = static_cast<int64_t>(names.size());
    names.push_back(id);
  }
  const auto index = [&](const std::string& id) { return id.empty() ? -1 : ids.at(id); };
  json list = json::array();
  for (const ShardRow& row : rows) {
    list.push_back({index(row.owner), row.generation, index(row.from), row.from_generation,
                    row.unclean ? 1 : 0});
  }
  return json{{"ids", std::move(names)}, {"rows", std::move(list)}}.dump();
}

StatusOr<std::vector<ShardRow>> ParseShardPage(std::string_view text, size_t rows) {
  const json page = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!page.is_object() || !page.contains("ids") || !page["ids"].is_array() ||
      !page.contains("rows") || !page["rows"].is_array() || page["rows"].size() != rows) {
    return Unreadable();
  }
  std::vector<std::string> ids;
  for (const json& id : page["ids"]) {
    if (!id.is_string()) return Unreadable();
    ids.push_back(id.get<std::string>());
  }
  std::vector<ShardRow> parsed;
  for (const json& row : page["rows"]) {
    std::optional<ShardRow> one = ParseRow(row, ids);
    if (!one) return Unreadable();
    parsed.push_back(std::move(*one));
  }
  return parsed;
}

std::string EncodeShardCounter(ShardCounter counter) {
  return json{{"last", counter.last}, {"shards", counter.shards}}.dump();
}

StatusOr<ShardCounter> ParseShardCounter(std::string_view text) {
  const json object = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("last") || !object["last"].is_number_unsigned() ||
      !object.contains("shards") || !object["shards"].is_number_unsigned()) {
    return Unreadable();
  }
  return ShardCounter{object["last"].get<uint64_t>(), object["shards"].get<uint64_t>()};
}

Status CheckShardCount(uint64_t there, uint64_t wanted) {
  if (there == wanted) return Status::Ok();
  return FailedPrecondition("the service has " + std::to_string(there) + " shards, not " +
                            std::to_string(wanted) +
                            ": their number is fixed when the name is first deployed");
}

ShardStore::ShardStore(registry::Registry* registry, std::string environment, std::string service,
                       uint32_t shards, registry::Compare holder)
    : registry_(registry),
      environment_(std::move(environment)),
      service_(std::move(service)),
      holder_(std::move(holder)),
      rows_(shards) {}

uint32_t ShardStore::RowsOf(uint32_t page) const {
  const uint32_t count = static_cast<uint32_t>(rows_.size());
  return std::min(kShardsPerPage, count - page * kShardsPerPage);
}

// ---- Reading ----

void ShardStore::Load(std::function<void(StatusOr<Loaded>)> asked) {
  loading_ = true;
  const auto done = [this, asked = std::move(asked)](StatusOr<Loaded> loaded) {
    loading_ = false;
    asked(std::move(loaded));
  };
  registry_->Get(registry::GenerationKey(environment_, service_), [this, done](const auto& read) {
    const Status counter = ReadCounter(read);
    if (!counter.ok()) return done(counter);
    registry::ScanPrefix(
        registry_, registry::KindPrefix(registry::KeyKind::kOwner, environment_, service_),
        [this, done](const auto& pages) {
          const Status rows = ReadPages(pages);
          if (!rows.ok()) return done(rows);
          done(Loaded{rows_, last_generation_});
        });
  });
}

Status ShardStore::ReadCounter(const StatusOr<registry::GetResult>& counter) {
  LEVER_RETURN_IF_ERROR(counter.status());
  if (!counter->entry) return Status::Ok();
  LEVER_ASSIGN_OR_RETURN(const ShardCounter read, ParseShardCounter(counter->entry->value));
  LEVER_RETURN_IF_ERROR(CheckShardCount(read.shards, rows_.size()));
  last_generation_ = read.last;
  return Status::Ok();
}

Status ShardStore::ReadPages(const StatusOr<std::vector<registry::Entry>>& pages) {
  LEVER_RETURN_IF_ERROR(pages.status());
  for (const registry::Entry& entry : *pages) {
    const auto key = registry::ParseKey(entry.key);
    if (!key || key->number > (rows_.size() - 1) / kShardsPerPage) return Unreadable();
    const auto page = static_cast<uint32_t>(key->number);
    LEVER_ASSIGN_OR_RETURN(auto rows, ParseShardPage(entry.value, RowsOf(page)));
    for (const ShardRow& row : rows) {
      if (row.generation > last_generation_) return Unreadable();
    }
    std::move(rows.begin(), rows.end(), rows_.begin() + page * kShardsPerPage);
  }
  return Status::Ok();
}

// ---- Writing ----

void ShardStore::Write(uint32_t shard, ShardRow row, uint64_t last_generation,
                       std::function<void(Result)> done) {
  assert(shard < rows_.size() && !pending_.contains(shard));
  last_generation_ = std::max(last_generation_, last_generation);
  pending_[shard] = {std::move(row), std::move(done)};
  Flush();
}

void ShardStore::Flush() {
  if (under_way_ || pending_.empty()) return;
  if (broken_ != Result::kDurable) {
    for (auto& [shard, change] : std::exchange(pending_, {})) change.done(broken_);
    return;
  }
  registry::Transaction transaction;
  transaction.If(holder_);
  auto changes = std::make_shared<Changes>(TakeBatch(&transaction));
  transaction.Then(registry::Operation::Put(
      registry::GenerationKey(environment_, service_),
      EncodeShardCounter({last_generation_, rows_.size()})));
  under_way_ = true;
  registry_->Commit(std::move(transaction),
                    [this, changes](const auto& result) { OnCommitted(changes, result); });
}

ShardStore::Changes ShardStore::TakeBatch(registry::Transaction* transaction) {
  Changes batch;
  size_t bytes = 0;
  size_t pages = 0;
  while (!pending_.empty() && pages < kBatchPagesMax) {
    const uint32_t page = pending_.begin()->first / kShardsPerPage;
    const auto first = rows_.begin() + page * kShardsPerPage;
    std::vector<ShardRow> rows(first, first + RowsOf(page));
    const auto end = pending_.lower_bound((page + 1) * kShardsPerPage);
    for (auto at = pending_.begin(); at != end; ++at) {
      rows[at->first % kShardsPerPage] = at->second.row;
    }
    std::string text = EncodeShardPage(rows);
    if (pages > 0 && bytes + text.size() > kBatchBytesMax) break;
    bytes += text.size();
    ++pages;
    transaction->Then(
        registry::Operation::Put(registry::OwnerKey(environment_, service_, page), std::move(text)));
    while (pending_.begin() != end) batch.insert(pending_.extract(pending_.begin()));
  }
  return batch;
}

void ShardStore::OnCommitted(const std::shared_ptr<Changes>& changes,
                             const StatusOr<registry::TransactionResult>& result) {
  under_way_ = false;
  Result answer = Result::kDurable;
  if (!result.ok()) {
    answer = result.status().executed() == LEVER_EXECUTED_NO ? Result::kNotDone : Result::kUnknown;
  } else if (!result->succeeded) {
    answer = Result::kNotHolder;
  }
  if (answer == Result::kUnknown || answer == Result::kNotHolder) broken_ = answer;
  if (answer == Result::kDurable) {
    for (auto& [shard, change] : *changes) rows_[shard] = change.row;
  }
  for (auto& [shard, change] : *changes) change.done(answer);
  Flush();
}

}  // namespace lever::scale
