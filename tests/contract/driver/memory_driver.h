// A driver without processes, for tests: an instance is what its arguments say (program.c has the
// words), done on the loop, one step a turn.
//
// Threads: those of its loop.
#ifndef TESTS_CONTRACT_DRIVER_MEMORY_DRIVER_H_
#define TESTS_CONTRACT_DRIVER_MEMORY_DRIVER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "liblever/base/loop.h"
#include "liblever/host/fleet/driver.h"

namespace lever::fleet {

class MemoryDriver final : public Driver {
 public:
  enum class Mode : uint8_t {
    kWorks,
    kHangs,  // takes every call and never answers
  };

  explicit MemoryDriver(Loop* loop, Mode mode = Mode::kWorks);
  ~MemoryDriver() override;

  void Start(uint64_t id, InstanceSpec spec, DriverEvents* events) override;
  void Stop(uint64_t id, StopKind kind) override;
  void Remove(uint64_t id) override;
  std::string Describe() const override { return "memory"; }

  // What it was asked for, also while it hangs.
  size_t starts() const { return starts_; }
  size_t kills() const { return kills_; }
  size_t removes() const { return removes_; }

 private:
  struct Instance;

  void Continue(Instance* instance);
  void Begin(uint64_t id, Instance* instance);
  void Step(uint64_t id, Instance* instance);
  void End(uint64_t id, Instance* instance);
  void CompleteRemove(uint64_t id);
  Instance* Find(uint64_t id);

  Loop* const loop_;
  const Mode mode_;
  std::map<uint64_t, std::unique_ptr<Instance>> instances_;
  size_t starts_ = 0;
  size_t kills_ = 0;
  size_t removes_ = 0;
};

}  // namespace lever::fleet

#endif  // TESTS_CONTRACT_DRIVER_MEMORY_DRIVER_H_
