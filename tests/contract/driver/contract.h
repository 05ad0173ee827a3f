// The suite that every instance driver passes: what driver.h promises, tested through nothing but
// driver.h. An implementation gives a factory and instantiates the suites that fit it:
//   DriverContract   all drivers
//   ProcessContract  those whose instances are processes of this machine
//   HoldContract     those that hold an instance to its limits, and find all that it leaves behind
//
// The program that is started is program.c; a driver without processes does by itself what its
// arguments say.
#ifndef TESTS_CONTRACT_DRIVER_CONTRACT_H_
#define TESTS_CONTRACT_DRIVER_CONTRACT_H_

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/host/fleet/driver.h"
#include "tests/contract/driver/recorder.h"

namespace lever::fleet {

// A driver, and what has to live as long as it.
class DriverHolder {
 public:
  virtual ~DriverHolder() = default;
  virtual Driver* driver() = 0;
  // Destroys the driver, on the loop's thread.
  virtual void End() = 0;
};

struct DriverImplementation {
  const char* name;
  std::unique_ptr<DriverHolder> (*open)(Loop* loop);
};

inline void PrintTo(const DriverImplementation& implementation, std::ostream* out) {
  *out << implementation.name;
}
inline std::string ImplementationName(const testing::TestParamInfo<DriverImplementation>& info) {
  return info.param.name;
}

// Whether the process is there, and no zombie's.
bool Alive(int64_t pid);

class DriverFixture : public testing::TestWithParam<DriverImplementation> {
 protected:
  static constexpr std::chrono::seconds kLimit{30};

  void SetUp() override {
    LoopOptions options;
    options.posters_drive = false;
    auto loop = Loop::Open(options);
    ASSERT_TRUE(loop.ok());
    loop_ = std::move(loop).value();
    holder_ = GetParam().open(loop_.get());
    ASSERT_NE(holder_, nullptr);
    std::string folder = (std::filesystem::temp_directory_path() / "lever-driver-XXXXXX").string();
    ASSERT_NE(::mkdtemp(folder.data()), nullptr);
    std::filesystem::permissions(folder, std::filesystem::perms(0755));
    folder_ = folder;
  }
  void TearDown() override {
    EndDriver();
    loop_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  void EndDriver() {
    if (holder_ == nullptr) return;
    Call([&](Driver&) { holder_->End(); });
    holder_.reset();
  }

  // A call of the driver, as the thread that drives the loop makes it.
  void Call(const std::function<void(Driver&)>& call) {
    while (!loop_->TryEnter()) std::this_thread::yield();
    recorder_.set_inside_call(true);
    call(*holder_->driver());
    recorder_.set_inside_call(false);
    loop_->Leave();
  }

  // A spec with both sockets, whose other ends stay here.
  InstanceSpec Spec(std::vector<std::string> arguments) {
    InstanceSpec spec;
    spec.environment = "dev.lever";
    spec.service = "tested";
    spec.version = 1;
    spec.instance = "i-" + std::to_string(::getpid()) + "-" + std::to_string(++instances_made_);
    spec.argv = {LEVER_TEST_PROGRAM};
    for (std::string& argument : arguments) spec.argv.push_back(std::move(argument));
    spec.directory = folder_;
    spec.variables = {"PATH=/usr/bin:/bin", "GREETING=hello world"};
    auto attach = SocketPair(SOCK_STREAM);
    auto introduction = SocketPair(SOCK_SEQPACKET);
    EXPECT_TRUE(attach.ok() && introduction.ok());
    attach_ = std::move(attach->first);
    introduction_ = std::move(introduction->first);
    spec.attach = std::move(attach->second);
    spec.introduction = std::move(introduction->second);
    return spec;
  }
  // The same without sockets, told to listen.
  InstanceSpec ListeningSpec(std::string address, std::vector<std::string> arguments) {
    InstanceSpec spec = Spec(std::move(arguments));
    spec.attach.reset();
    spec.introduction.reset();
    spec.listen = std::move(address);
    return spec;
  }

  void Start(uint64_t id, InstanceSpec spec) {
    recorder_.Expect(id);
    Call([&](Driver& driver) { driver.Start(id, std::move(spec), &recorder_); });
  }
  void Run(uint64_t id, std::vector<std::string> arguments) {
    Start(id, Spec(std::move(arguments)));
  }
  void Stop(uint64_t id, StopKind kind) {
    Call([&](Driver& driver) { driver.Stop(id, kind); });
  }
  void Remove(uint64_t id) {
    Call([&](Driver& driver) { driver.Remove(id); });
  }
  const Recorder::Story& Of(uint64_t id) { return recorder_.Of(id); }

  // Drives the loop until `holds`; false when that takes too long.
  bool RunUntil(const std::function<bool()>& holds) {
    const auto limit = std::chrono::steady_clock::now() + kLimit;
    while (!holds()) {
      if (std::chrono::steady_clock::now() > limit) return false;
      (void)loop_->Turn(5 * kNanosPerMilli);
    }
    return true;
  }
  // Drives the loop for a while in which nothing is expected.
  void RunFor(int64_t ns) {
    const int64_t until = Clock::System().NowNs() + ns;
    while (Clock::System().NowNs() < until) (void)loop_->Turn(5 * kNanosPerMilli);
  }
  bool AwaitStarted(uint64_t id) {
    return RunUntil([&] { return Of(id).started || Of(id).failed; }) && Of(id).started.has_value();
  }
  bool AwaitExited(uint64_t id) {
    return RunUntil([&] { return Of(id).exited || Of(id).failed; }) && Of(id).exited.has_value();
  }
  bool AwaitOut(uint64_t id, const std::string& text) {
    return RunUntil([&] { return Of(id).out.find(text) != std::string::npos; });
  }
  bool RemoveAndWait(uint64_t id) {
    Remove(id);
    return RunUntil([&] { return Of(id).removed; });
  }
  // What a socket of ours receives: text, or "" at its end.
  std::string Receive(const UniqueFd& socket) {
    std::string text(1000, '\0');
    ssize_t size = -1;
    EXPECT_TRUE(RunUntil([&] {
      size = ::recv(socket.get(), text.data(), text.size(), MSG_DONTWAIT);
      return size >= 0 || (errno != EAGAIN && errno != EINTR);
    }));
    text.resize(size > 0 ? static_cast<size_t>(size) : 0);
    return text;
  }

  std::unique_ptr<Loop> loop_;
  Recorder recorder_;
  std::unique_ptr<DriverHolder> holder_;
  std::string folder_;
  // Of the spec that was made last.
  UniqueFd attach_;
  UniqueFd introduction_;
  int instances_made_ = 0;
};

class DriverContract : public DriverFixture {};
class ProcessContract : public DriverFixture {};
class HoldContract : public DriverFixture {};

}  // namespace lever::fleet

#endif  // TESTS_CONTRACT_DRIVER_CONTRACT_H_
