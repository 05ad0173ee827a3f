// Thousands of streams, each of which moves between three real services at random times while both sides
// write, read, and stop reading: no message is lost, doubled or out of order in either direction.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "liblever/client/client_stream.h"
#include "liblever/policy/shard.h"
#include "tests/client/client_fixture.h"
#include "tests/client/host_relay.h"
#include "tests/client/moving_owner.h"
#include "tests/value/mutation.h"

namespace lever::client {
namespace {

constexpr int kHistories = 2000;
constexpr uint32_t kShards = 4;
constexpr size_t kOwners = 3;
// Below what is kept where the caller reads nothing, so that every move is a clean one.
constexpr size_t kSentBytesMax = 3 * kReplayBytesMax;

class ResumeHistories : public ClientTest {
 protected:
  ResumeHistories() : random_(TestSeed()) {
    shard_ = policy::ShardOf("dev.lever", "hello", "room", kShards);
    Open();
    std::vector<std::string> ids;
    for (size_t i = 0; i < kOwners; ++i) {
      ids.push_back("i-" + std::to_string(i));
      StartOwner(ids.back());
    }
    ConnectToOwners(ids);
    host->on_call = [this](TestCall&, rpc::Call& call) {
      ++through_host_;
      HostRelay::Start(call, *from_host_[owner_],
                       policy::FormatShardGeneration({shard_, generation_}));
    };
    Order(v1::ShardOrder::NAME, 0, generation_);
    Order(v1::ShardOrder::GRANT, 0, generation_);
    for (size_t i = 0; i < kOwners; ++i) Sync(i);
  }
  ~ResumeHistories() override {
    Do([&] {
      for (const auto& owner : owners_) owner->service->Close();
    });
    for (const auto& owner : owners_) EXPECT_TRUE(Until([&] { return owner->closed; }));
    Do([&] {
      from_host_.clear();
      for (const auto& owner : owners_) {
        owner->service.reset();
        owner->host->server.reset();
      }
    });
    Settle();
  }

  // ---- The world ----
  void StartOwner(const std::string& id) {
    owners_.push_back(std::make_unique<MovingOwner>(loop.get(), id, &random_, &log_));
    MovingOwner& owner = *owners_.back();
    owner.host->welcome.set_shards(kShards);
    Do([&] {
      service::ServiceOptions options;
      options.attach_socket = owner.host->Adopt().release();
      options.introduction_socket = owner.host->OpenIntroductions().release();
      owner.service = std::move(service::Service::Open(loop.get(), std::move(options), &owner)).value();
      ASSERT_TRUE(owner.service->AddMethod("echo", nullptr).ok());
      ASSERT_TRUE(owner.service->SetResource({.resumes = true}).ok());
      ASSERT_TRUE(owner.service->AddResourceMethod("watchChan", nullptr).ok());
      ASSERT_TRUE(owner.service->Start().ok());
    });
    ASSERT_TRUE(Until([&] { return owner.service->state() == service::State::kAttached; }));
    Do([&] {
      rpc::ConnectionOptions options;
      options.role = rpc::Role::kClient;
      from_host_.push_back(std::move(rpc::Channel::Over(loop.get(), owner.host->IntroduceCaller("", true),
                                                        options)).value());
    });
  }
  void ConnectToOwners(const std::vector<std::string>& ids) {
    host->on_call = Succeed;
    ASSERT_TRUE(Ended(Call()));
    ASSERT_TRUE(Until([&] { return !host->watches.empty() && host->watches.back().received.size() >= 2; }));
    v1::ToWatcher message;
    auto* routes = message.mutable_routes();
    routes->set_environment("dev.lever");
    routes->set_service("hello");
    routes->set_revision(1);
    for (const std::string& id : ids) {
      auto* row = routes->add_instances();
      row->set_id(id);
      row->set_version(1);
      row->set_local(true);
    }
    for (uint32_t i = 0; i < kShards; ++i) {
      routes->mutable_shards()->add_owner(1);
      routes->mutable_shards()->add_generation(generation_);
    }
    Do([&] { host->watches.back().Send(message); });
    ASSERT_TRUE(Until([&] {
      Introduce();
      return client->stats().direct_connections == kOwners;
    }));
  }
  void Introduce() {
    for (const v1::Introduce& asked : host->TakeIntroduceRequests()) {
      for (const auto& owner : owners_) {
        if (owner->id != asked.instance()) continue;
        v1::Introduction packet;
        packet.mutable_outgoing()->set_id(asked.id());
        packet.mutable_outgoing()->set_instance(asked.instance());
        host->SendIntroduction(packet, owner->host->IntroduceCaller("lever://dev.lever/shop"));
      }
    }
  }
  void Order(v1::ShardOrder::Kind kind, size_t to, uint64_t generation, const std::string& next = "",
             uint64_t next_generation = 0) {
    v1::ToInstance message;
    auto* order = message.mutable_shards()->add_orders();
    order->set_kind(kind);
    order->set_shard(shard_);
    order->set_generation(generation);
    order->set_next(next);
    order->set_next_generation(next_generation);
    order->set_reason(v1::MOVED);
    Do([&] { owners_[to]->host->attaches.back().Send(message); });
  }
  void Sync(size_t to) {
    v1::ToInstance message;
    message.mutable_shards()->set_synced(true);
    Do([&] { owners_[to]->host->attaches.back().Send(message); });
  }
  // What the instances ask of their host, and say.
  void Answer() {
    for (const auto& owner : owners_) {
      auto& attach = owner->host->attaches.back();
      for (; owner->attach_seen < attach.received.size(); ++owner->attach_seen) {
        const v1::FromInstance& asked = attach.received[owner->attach_seen];
        v1::ToInstance answer;
        if (asked.has_renew()) answer.mutable_renewed()->set_id(asked.renew().id());
        if (asked.has_state()) answer.mutable_state()->set_id(asked.state().id());
        if (asked.has_released()) released_ |= asked.released().generation() == old_generation_;
        if (asked.has_renew() || asked.has_state()) Do([&] { attach.Send(answer); });
      }
    }
  }

  // ---- Moves ----
  enum class Stage { kStill, kToBeNamed, kToBeGranted };
  void StepMove(bool may_begin) {
    switch (stage_) {
      case Stage::kStill:
        if (!may_begin) return;
        old_ = owner_;
        old_generation_ = generation_;
        owner_ = (owner_ + 1 + random_.Below(kOwners - 1)) % kOwners;
        ++generation_;
        released_ = false;
        // Now and then nobody is said to be the next.
        if (random_.Below(5) == 0) {
          Order(v1::ShardOrder::RELEASE, old_, old_generation_);
        } else {
          Order(v1::ShardOrder::RELEASE, old_, old_generation_, owners_[owner_]->id, generation_);
        }
        stage_ = Stage::kToBeNamed;
        return;
      case Stage::kToBeNamed:
        if (random_.Below(3) != 0) return;
        Order(v1::ShardOrder::NAME, owner_, generation_);
        stage_ = Stage::kToBeGranted;
        return;
      case Stage::kToBeGranted:
        if (!released_) return;
        Order(v1::ShardOrder::GRANT, owner_, generation_);
        stage_ = Stage::kStill;
    }
  }

  // ---- The caller ----
  void Write(Result& result, bool always) {
    if (result.stream->Writable()) {
      if ((!always && random_.Below(3) == 0) || sent_bytes_ > kSentBytesMax) return;
      sent_.push_back(std::to_string(sent_.size() + 1));
      if (random_.Below(8) == 0) sent_.back() += std::string(random_.Below(40'000), ' ');
      sent_bytes_ += sent_.back().size();
      EXPECT_TRUE(result.stream->Write(Kind::kRaw, Bytes(sent_.back())).ok());
    } else if (!wanted_) {
      wanted_ = true;
      writable_seen_ = result.writable;
      result.stream->WantWritable();
    } else if (result.writable > writable_seen_) {
      wanted_ = false;
    }
  }
  void StepCaller(Result& result, bool ending) {
    if (ending && !send_closed_ && random_.Below(4) == 0) {
      send_closed_ = true;
      result.stream->CloseSend();
    }
    if (ending) return result.stream->Read(1, random_.Below(2));
    switch (random_.Below(4)) {
      case 0: return Write(result, false);
      case 1: {
        const uint64_t burst = random_.Below(20);
        for (uint64_t i = 0; i < burst; ++i) Write(result, true);
        return;
      }
      case 2: return reads_ ? result.stream->Read(1 + random_.Below(3), random_.Below(2)) : void();
      default:
        if (random_.Below(10) == 0) reads_ = !reads_;
    }
  }

  void Run(int history) {
    SCOPED_TRACE("history " + std::to_string(history) + " of the seed " + std::to_string(TestSeed()));
    log_ = {};
    sent_.clear();
    sent_bytes_ = 0;
    wanted_ = send_closed_ = false;
    reads_ = true;
    Request request;
    request.address = "/hello/room/watchChan";
    request.read_messages = random_.Below(4);
    Result& result = Stream(std::move(request));
    const uint64_t busy = 20 + random_.Below(150);
    for (uint64_t step = 0; !result.ended(); ++step) {
      ASSERT_LT(step, 200'000u) << "it hangs: " << log_.read.size() << " of " << sent_.size()
                                << " read, " << result.messages.size() << " of " << log_.written;
      const bool ending = step > busy;
      Do([&] {
        StepCaller(result, ending);
        for (const auto& owner : owners_) {
          owner->Act(ending);
          if (random_.Below(3) == 0) owner->CloseResources();
        }
      });
      StepMove(!ending && random_.Below(12) == 0);
      Answer();
      for (uint64_t turns = random_.Below(4); turns > 0; --turns) ASSERT_TRUE(loop->Turn(0).ok());
      if (step % 16 == 0) clock.Advance(kNanosPerMilli);
    }
    ASSERT_TRUE(result.status.ok()) << result.status.ToString();
    for (int i = 0; stage_ != Stage::kStill && i < 10'000; ++i) {
      StepMove(false);
      Do([&] {
        for (const auto& owner : owners_) owner->CloseResources();
      });
      Answer();
      Settle();
    }
    ASSERT_EQ(stage_, Stage::kStill);
    ASSERT_EQ(log_.read, sent_);
    ASSERT_EQ(result.messages.size(), log_.written);
    for (size_t i = 0; i < result.messages.size(); ++i) {
      const std::string number = std::to_string(i + 1);
      ASSERT_EQ(result.messages[i].substr(0, result.messages[i].find(' ')), number);
    }
    ASSERT_TRUE(result.resume.has_value());
    ASSERT_EQ(result.resume->received, log_.written);
    ASSERT_EQ(result.resume->token, log_.token);
    moves_ += log_.moves;
    results.clear();
  }

  Random random_;
  uint32_t shard_ = 0;
  MethodLog log_;
  std::vector<std::unique_ptr<MovingOwner>> owners_;
  std::vector<std::unique_ptr<rpc::Channel>> from_host_;  // to each of them
  // The shard's.
  size_t owner_ = 0, old_ = 0;
  uint64_t generation_ = 1, old_generation_ = 0;
  Stage stage_ = Stage::kStill;
  bool released_ = false;
  // The caller's.
  std::vector<std::string> sent_;
  size_t sent_bytes_ = 0;
  bool wanted_ = false, send_closed_ = false, reads_ = true;
  int writable_seen_ = 0;
  int moves_ = 0;
  int through_host_ = 0;
};

TEST_F(ResumeHistories, NoMessageIsLostDoubledOrOutOfOrder) {
  for (int i = 0; i < kHistories; ++i) {
    ASSERT_NO_FATAL_FAILURE(Run(i));
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(moves_, kHistories);
  EXPECT_GT(through_host_, kHistories / 10);
  std::printf("%d moves, %d of the streams' attempts through the host\n", moves_, through_host_);
}

}  // namespace
}  // namespace lever::client
