#include "liblever/host/registry/scan.h"

#include <iterator>
#include <memory>
#include <utility>

namespace lever::registry {
namespace {

struct Scan {
  Registry* registry;
  RangeRequest request;
  std::vector<Entry> entries;
  Done<std::vector<Entry>> done;
};

void NextPage(std::shared_ptr<Scan> scan) {
  RangeRequest request = scan->request;
  scan->registry->Range(
      std::move(request), [scan](StatusOr<RangeResult> page) mutable {
        if (!page.ok()) {
          scan->done(page.status());
          return;
        }
        std::move(page->entries.begin(), page->entries.end(), std::back_inserter(scan->entries));
        if (!page->more || scan->entries.empty()) {
          scan->done(std::move(scan->entries));
          return;
        }
        scan->request.after = scan->entries.back().key;
        NextPage(std::move(scan));
      });
}

}  // namespace

void ScanPrefix(Registry* registry, std::string prefix, Done<std::vector<Entry>> done) {
  auto scan = std::make_shared<Scan>();
  scan->registry = registry;
  scan->request.prefix = std::move(prefix);
  scan->done = std::move(done);
  NextPage(std::move(scan));
}

}  // namespace lever::registry
