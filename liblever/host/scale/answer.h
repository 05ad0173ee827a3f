// How the control loop answers what other loops ask of it.
#ifndef LIBLEVER_HOST_SCALE_ANSWER_H_
#define LIBLEVER_HOST_SCALE_ANSWER_H_

#include <memory>
#include <utility>

#include "liblever/base/loop.h"

namespace lever::scale {

// Runs `done(value)` on `loop`.
template <typename Done, typename Value>
void Answer(Loop* loop, Done done, Value value) {
  loop->Post([done = std::move(done), value = std::make_shared<Value>(std::move(value))] {
    done(std::move(*value));
  });
}

}  // namespace lever::scale

#endif  // LIBLEVER_HOST_SCALE_ANSWER_H_
