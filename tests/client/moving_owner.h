// An instance that owns a resource's shard now and then, and the method of the resource's streams: a model
// of a program that resumes, which does at random what a program may do.
//
// The method reads what its caller writes, in order, and writes the numbers from 1 on; a token says how
// many it had written.
#ifndef TESTS_CLIENT_MOVING_OWNER_H_
#define TESTS_CLIENT_MOVING_OWNER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "liblever/base/random.h"
#include "liblever/service/service.h"
#include "tests/route/fake_host.h"

namespace lever::client {

// What all methods of one stream have done, wherever they ran.
struct MethodLog {
  std::vector<std::string> read;
  uint64_t written = 0;
  std::string token;  // the last that was written
  int moves = 0;
};

class MovingOwner final : public service::ServiceHandler, public route::StreamHandler {
 public:
  MovingOwner(Loop* loop, std::string its_id, Random* random, MethodLog* log)
      : id(std::move(its_id)), host(std::make_unique<FakeHost>(loop)), random_(random), log_(log) {
    host->welcome.set_instance(id);
  }

  // ---- Steps, holding the loop's word ----
  void Act(bool ending) {
    if (stream == nullptr) return;
    switch (random_->Below(5)) {
      case 0: return ReadOne();
      case 1: return WriteOne();
      case 2: return GiveBack();
      case 3:
        if (moving && random_->Below(2) == 0) return MoveOn();
        if (!buffer_.empty()) return ReadOne();
        if (ending && half_closed_ && !moving) return std::exchange(stream, nullptr)->CloseSend();
        return;
      default: return;
    }
  }
  void CloseResources() {
    for (const uint64_t resource : std::exchange(closings_, {})) {
      EXPECT_TRUE(service->ResourceClosed(resource, Status::Ok(), route::Kind::kNone, nullptr).ok());
    }
  }

  // ---- service::ServiceHandler ----
  void OnState(service::Service&, service::State, const Status&) override {}
  void OnIncomingCall(service::Service&, service::IncomingCall& call) override { call.Begin(); }
  void OnIncomingStream(service::Service&, service::IncomingStream& incoming) override {
    ASSERT_EQ(stream, nullptr) << "the stream runs once at a time";
    incoming.set_handler(this);
    stream = &incoming;
    moving = half_closed_ = false;
    buffer_.clear();
    credit_due_ = 0;
    bytes_due_ = 1;
    if (const route::ResumePoint* point = incoming.resumed()) {
      EXPECT_EQ(point->received, log_->written) << "all that was written has come";
      EXPECT_EQ(point->consumed, log_->read.size());
      EXPECT_EQ(point->token, log_->token);
    } else {
      EXPECT_EQ(log_->moves, 0) << "it begins once";
    }
    if (!incoming.Begin()) {
      stream = nullptr;
      return;
    }
    incoming.Read(1 + random_->Below(8), random_->Below(3) == 0 ? 1 : 0);
  }
  void OnCancelled(service::Service&, service::IncomingCall&) override {}
  void OnResourceOpen(service::Service&, const service::ResourceOpening& opening) override {
    service->ResourceOpened(opening.id, Status::Ok());
  }
  void OnResourceClose(service::Service&, uint64_t resource, service::CloseReason) override {
    EXPECT_EQ(stream, nullptr) << "only when the method has returned";
    closings_.push_back(resource);
  }
  void OnClosed(service::Service&) override { closed = true; }

  // ---- route::StreamHandler ----
  void OnMessage(route::MessageStream&, route::Kind, SliceList payload) override {
    EXPECT_FALSE(moving || half_closed_);
    buffer_.push_back(Concat(payload));
    bytes_due_ += TotalSize(payload);
  }
  void OnHalfClosed(route::MessageStream&) override {
    EXPECT_FALSE(moving || half_closed_);
    half_closed_ = true;
  }
  void OnMoving(route::MessageStream&) override {
    EXPECT_FALSE(moving);
    moving = true;
    if (random_->Below(4) == 0) MoveOn();
  }
  void OnWritable(route::MessageStream&) override {}
  void OnEnd(route::MessageStream& ended, route::Outcome outcome) override {
    EXPECT_TRUE(outcome.status.ok()) << outcome.status.ToString();
    EXPECT_NE(&ended, static_cast<route::MessageStream*>(stream)) << "its method has not returned";
  }

  const std::string id;
  std::unique_ptr<FakeHost> host;
  std::unique_ptr<service::Service> service;
  service::IncomingStream* stream = nullptr;  // while its method runs here
  bool moving = false;
  bool closed = false;
  size_t attach_seen = 0;

 private:
  void ReadOne() {
    if (buffer_.empty()) return;
    log_->read.push_back(std::move(buffer_.front()));
    buffer_.pop_front();
    ++credit_due_;
    if (random_->Below(2) == 0) GiveBack();
  }
  // What was read, told in one go.
  void GiveBack() {
    if (credit_due_ > 0) stream->Read(std::exchange(credit_due_, 0), std::exchange(bytes_due_, 1));
  }
  void WriteOne() {
    if (!stream->Writable()) return;
    SliceList payload;
    payload.push_back(Slice::Copy(std::to_string(++log_->written) + Padding()));
    if (random_->Below(2) == 0) {
      EXPECT_TRUE(stream->Write(route::Kind::kRaw, std::move(payload)).ok());
      return;
    }
    log_->token = std::to_string(log_->written);
    if (random_->Below(8) == 0) log_->token.clear();
    EXPECT_TRUE(stream->WriteResumable(route::Kind::kRaw, std::move(payload), log_->token).ok());
  }
  std::string Padding() {
    return random_->Below(10) == 0 ? std::string(random_->Below(40'000), ' ') : std::string();
  }
  void MoveOn() {
    if (random_->Below(2) == 0) GiveBack();
    // Null by then if it is closed from inside.
    service::IncomingStream* moved = std::exchange(stream, nullptr);
    ++log_->moves;
    EXPECT_TRUE(moved->MoveOn(buffer_.size()).ok());
  }

  Random* const random_;
  MethodLog* const log_;
  bool half_closed_ = false;
  std::deque<std::string> buffer_;  // delivered, not read
  uint64_t credit_due_ = 0;
  uint64_t bytes_due_ = 1;
  std::vector<uint64_t> closings_;
};

}  // namespace lever::client

#endif  // TESTS_CLIENT_MOVING_OWNER_H_
