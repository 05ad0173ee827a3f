// What people have asked for of single shards, beside what placement decides: that one is a certain
// instance's, that nobody has it for a while, that its owner lets go of it and it is granted anew.
//
// A value; no I/O, no clock. Any thread, one at a time.
#ifndef LIBLEVER_POLICY_SHARD_WISHES_H_
#define LIBLEVER_POLICY_SHARD_WISHES_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace lever::policy {

enum class ShardChange : uint8_t { kMove, kClose, kPause, kResume };

class ShardWishes {
 public:
  // It is that instance's, as long as that one may have shards.
  void Move(uint32_t shard, std::string instance);
  // It is nobody's until Resume().
  void Pause(uint32_t shard);
  // It is placed as any. False: it was not paused.
  bool Resume(uint32_t shard);
  // It is nobody's until Reopen().
  void Close(uint32_t shard);
  bool paused(uint32_t shard) const;

  // Puts the wishes over what placement wants, an instance for each shard ("" for nobody). Those that
  // name an instance which is not in `eligible`, which is sorted, are forgotten.
  void Apply(const std::vector<std::string>& eligible, std::vector<std::string>* targets);
  // Closed ones that nobody has any more, as `let_go` says, are placed as any from now on. True: there
  // were some.
  bool Reopen(const std::function<bool(uint32_t)>& let_go);

 private:
  enum class Kind : uint8_t { kMoved, kPaused, kClosed };
  struct Wish {
    Kind kind;
    std::string instance;
  };
  std::map<uint32_t, Wish> wishes_;
};

}  // namespace lever::policy

#endif  // LIBLEVER_POLICY_SHARD_WISHES_H_
