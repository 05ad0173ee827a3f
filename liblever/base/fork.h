// Whether this process is the one in which an object was made.
//
// A forked child shares its parent's descriptors, epoll set included, so that it must not touch
// them. Any thread.
#ifndef LIBLEVER_BASE_FORK_H_
#define LIBLEVER_BASE_FORK_H_

#include <cstdint>

namespace lever {

// How many forks lie between this process and the one that first asked. Reads one variable: no
// system call. vfork() and a raw clone() do not count.
uint32_t ForkCount();

// Remembers the process in which it was made.
class ForkCheck {
 public:
  ForkCheck() : made_in_(ForkCount()) {}
  bool Forked() const { return made_in_ != ForkCount(); }

 private:
  uint32_t made_in_;
};

}  // namespace lever

#endif  // LIBLEVER_BASE_FORK_H_
