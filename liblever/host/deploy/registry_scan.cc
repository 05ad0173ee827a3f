#include "liblever/host/deploy/registry_scan.h"

#include <iterator>
#include <memory>
#include <utility>

namespace lever::deploy {
namespace {

struct Scan {
  registry::Registry* registry;
  registry::RangeRequest request;
  std::vector<registry::Entry> entries;
  registry::Done<std::vector<registry::Entry>> done;
};

void NextPage(std::shared_ptr<Scan> scan) {
  registry::RangeRequest request = scan->request;
  scan->registry->Range(
      std::move(request), [scan](StatusOr<registry::RangeResult> page) mutable {
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

void ScanPrefix(registry::Registry* registry, std::string prefix,
                registry::Done<std::vector<registry::Entry>> done) {
  auto scan = std::make_shared<Scan>();
  scan->registry = registry;
  scan->request.prefix = std::move(prefix);
  scan->done = std::move(done);
  NextPage(std::move(scan));
}

}  // namespace lever::deploy
