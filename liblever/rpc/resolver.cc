#include "liblever/rpc/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "liblever/base/fork.h"

namespace lever::rpc {

// Shared by the loop and a thread of the pool. kAsked -> kPosting -> kDelivered, or kTakenBack,
// which waits for kPosting to be over: the loop may go away after it.
struct Resolution::Question : std::enable_shared_from_this<Question> {
  enum class State : uint8_t { kAsked, kPosting, kPosted, kDelivered, kTakenBack };

  std::string host;
  uint16_t port = 0;
  Loop* loop = nullptr;
  Done done;  // the loop's

  std::mutex mutex;
  std::condition_variable posted;
  State state = State::kAsked;
  std::thread::id poster;

  // On a thread of the pool, or on the loop if there is no room for the question.
  void Answer(StatusOr<Addresses> answer) {
    {
      const std::lock_guard lock(mutex);
      if (state != State::kAsked) return;
      state = State::kPosting;
      poster = std::this_thread::get_id();
    }
    // Who posts may be made to drive the loop: anything may happen in here, TakeBack() too.
    loop->Post([question = shared_from_this(), answer = std::move(answer)]() mutable {
      question->Deliver(std::move(answer));
    });
    const std::lock_guard lock(mutex);
    if (state == State::kPosting) state = State::kPosted;
    posted.notify_all();
  }

  void Deliver(StatusOr<Addresses> answer) {
    {
      const std::lock_guard lock(mutex);
      if (state == State::kTakenBack) return;
      state = State::kDelivered;
    }
    const Done last = std::exchange(done, nullptr);
    last(std::move(answer));
  }

  // On the loop.
  void TakeBack() {
    std::unique_lock lock(mutex);
    if (poster != std::this_thread::get_id()) {
      posted.wait(lock, [this] { return state != State::kPosting; });
    }
    if (state != State::kDelivered) state = State::kTakenBack;
    done = nullptr;
  }
};

namespace {

// The name that is always the machine's own (RFC 6761, section 6.3): nobody is asked, since a minimal
// machine has no file that knows it. As a listener has it, then IPv6.
Addresses OfLocalhost(uint16_t port) {
  Addresses addresses;
  for (const char* number : {"127.0.0.1", "::1"}) {
    Endpoint endpoint;
    endpoint.host_or_path = number;
    endpoint.port = port;
    if (const auto address = NumericAddress(endpoint)) addresses.push_back(*address);
  }
  return addresses;
}

StatusOr<Addresses> LookUp(const std::string& host, uint16_t port) {
  if (host == "localhost") return OfLocalhost(port);
  addrinfo hints{};
  hints.ai_flags = AI_NUMERICSERV | AI_ADDRCONFIG;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error == EAI_NONAME || error == EAI_ADDRFAMILY) {
    // A machine that has but its loopback interface has no address configured by AI_ADDRCONFIG's
    // reckoning.
    hints.ai_flags &= ~AI_ADDRCONFIG;
    error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  }
  if (error != 0) return Unavailable("no address of " + host + ": " + ::gai_strerror(error));
  Addresses addresses;
  for (const addrinfo* at = found; at != nullptr && addresses.size() < kAddressesMax;
       at = at->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    address.size = at->ai_addrlen;
  }
  ::freeaddrinfo(found);
  return addresses;
}

// The process's threads and the questions that wait for one. Never destroyed, since a thread may be
// in getaddrinfo() when the process ends.
class Pool {
 public:
  // A forked child has none of its parent's threads and begins anew.
  static Pool& Get() {
    static std::atomic<Pool*> current{nullptr};
    Pool* pool = current.load(std::memory_order_acquire);
    while (pool == nullptr || pool->fork_check_.Forked()) {
      Pool* fresh = new Pool;
      if (current.compare_exchange_strong(pool, fresh, std::memory_order_acq_rel)) return *fresh;
      delete fresh;
    }
    return *pool;
  }

  bool Ask(std::shared_ptr<Resolution::Question> question) {
    const std::lock_guard lock(mutex_);
    if (questions_.size() >= kResolverQueueMax) return false;
    questions_.push_back(std::move(question));
    if (idle_ >= questions_.size() || threads_ == kResolverThreadsMax) {
      asked_.notify_one();
      return true;
    }
    if (StartThread() || threads_ > 0) return true;
    questions_.pop_back();
    return false;
  }

 private:
  bool StartThread() {
    // The program's signals are not for this thread, which inherits the mask that it is made under.
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      std::thread([this] { Run(); }).detach();
    } catch (const std::system_error&) {
      started = false;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (started) ++threads_;
    return started;
  }

  void Run() {
    ::pthread_setname_np(::pthread_self(), "lever-resolver");
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      const bool work = asked_.wait_for(lock, std::chrono::nanoseconds(kResolverIdleNs),
                                        [this] { return !questions_.empty(); });
      --idle_;
      if (!work) break;
      const std::shared_ptr<Resolution::Question> question = std::move(questions_.front());
      questions_.pop_front();
      lock.unlock();
      question->Answer(LookUp(question->host, question->port));
      lock.lock();
    }
    --threads_;
  }

  const ForkCheck fork_check_;
  std::mutex mutex_;
  std::condition_variable asked_;
  std::deque<std::shared_ptr<Resolution::Question>> questions_;
  size_t idle_ = 0;
  int threads_ = 0;
};

}  // namespace

Resolution::Resolution(std::shared_ptr<Question> question) : question_(std::move(question)) {}

std::unique_ptr<Resolution> Resolution::Start(Loop* loop, std::string host, uint16_t port,
                                              Done done) {
  auto question = std::make_shared<Question>();
  question->host = std::move(host);
  question->port = port;
  question->loop = loop;
  question->done = std::move(done);
  if (!Pool::Get().Ask(question)) {
    question->Answer(ResourceExhausted("too many names are being looked up"));
  }
  return std::unique_ptr<Resolution>(new Resolution(std::move(question)));
}

Resolution::~Resolution() { question_->TakeBack(); }

}  // namespace lever::rpc
