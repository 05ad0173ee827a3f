// What was written to a stream and may have to be written again: the arguments, and messages in their
// order, numbered from 1.
//
// Two uses: until the other side has begun the stream, so that one which surely did not begin can be
// opened again elsewhere; and, of a stream that can be resumed, until the other side has read them.
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_CLIENT_SENT_MESSAGES_H_
#define LIBLEVER_CLIENT_SENT_MESSAGES_H_

#include <boost/container/deque.hpp>
#include <cstddef>
#include <cstdint>

#include "liblever/base/slice.h"

namespace lever::client {

// What is counted for a message beside its bytes, so that empty ones are bounded, too.
inline constexpr size_t kSentMessageBytes = 64;

class SentMessages {
 public:
  // Without memory of its own as long as it is empty, which that of the standard library has.
  using Messages = boost::container::deque<SliceList>;

  // A pass-through stream has none.
  void SetArguments(SliceList message);
  const SliceList& arguments() const { return arguments_; }

  void Add(SliceList message);
  // The other side has read those up to `number`. False: there are not so many.
  bool Consumed(uint64_t number);
  // Nothing is kept from here on.
  void Forget();

  bool kept() const { return kept_; }
  uint64_t consumed() const { return consumed_; }
  const Messages& messages() const { return messages_; }
  // Of the messages, kSentMessageBytes each included.
  size_t bytes() const { return bytes_; }
  size_t arguments_bytes() const { return arguments_bytes_; }

 private:
  bool kept_ = true;
  SliceList arguments_;
  size_t arguments_bytes_ = 0;
  Messages messages_;  // behind those that were consumed
  size_t bytes_ = 0;
  uint64_t consumed_ = 0;
};

}  // namespace lever::client

#endif  // LIBLEVER_CLIENT_SENT_MESSAGES_H_
