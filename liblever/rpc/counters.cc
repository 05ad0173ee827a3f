#include "liblever/rpc/counters.h"

namespace lever::rpc {

Counters& GlobalCounters() {
  static Counters counters;
  return counters;
}

}  // namespace lever::rpc
