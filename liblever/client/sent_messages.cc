#include "liblever/client/sent_messages.h"

#include <utility>

namespace lever::client {

void SentMessages::SetArguments(SliceList message) {
  arguments_ = std::move(message);
  arguments_bytes_ = TotalSize(arguments_);
}

void SentMessages::Add(SliceList message) {
  if (!kept_) return;
  bytes_ += TotalSize(message) + kSentMessageBytes;
  messages_.push_back(std::move(message));
}

bool SentMessages::Consumed(uint64_t number) {
  if (number > consumed_ + messages_.size()) return false;
  for (; consumed_ < number; ++consumed_) {
    bytes_ -= TotalSize(messages_.front()) + kSentMessageBytes;
    messages_.pop_front();
  }
  return true;
}

void SentMessages::Forget() {
  kept_ = false;
  arguments_ = SliceList();
  Messages().swap(messages_);
  bytes_ = arguments_bytes_ = 0;
}

}  // namespace lever::client
