#include <unistd.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include "tests/matrix/cpp/cases.h"
#include "tests/matrix/cpp/describe.h"

namespace matrix {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// An envelope of raw bytes of this size is a message of exactly 4 MiB.
constexpr size_t kLargest = 4'194'299;

lever::MethodError MethodErrorOf(const std::function<void()>& run) {
  try {
    run();
  } catch (const lever::MethodError& error) {
    return error;
  }
  throw Failure("no error of the method came");
}

struct Thrown {
  int code = 7;
  std::string why = "because";
  MSGPACK_DEFINE_MAP(code, why);
};

void ErrorValue(Context& context) {
  const lever::MethodError error =
      MethodErrorOf([&] { context.client.invoke(context.Address("fail"), Thrown()); });
  ExpectEqual(Describe(error.value()), Describe(lever::Value(Thrown())), "the error's value");
}

void ErrorBytes(Context& context) {
  const lever::Raw bytes{std::string("\x00\xff\x10", 3)};
  const lever::MethodError error =
      MethodErrorOf([&] { context.client.invoke(context.Address("failBytes"), bytes); });
  Expect(error.raw() == bytes, "the error's bytes are others");
}

void ErrorThrown(Context& context) {
  const lever::MethodError error = MethodErrorOf([&] {
    context.client.invoke(context.Address("throwObject"), std::string("out of cheese"));
  });
  Expect(std::string(error.what()).find("out of cheese") != std::string::npos, error.what());
}

void DeadlineContext(Context& context) {
  const auto in_time =
      context.client.invoke<int64_t>({.timeout = seconds(5)}, context.Address("remaining"));
  Expect(in_time > 0 && in_time <= 5000, "of 5 s are left " + std::to_string(in_time) + " ms");
  const auto by_default = context.client.invoke<int64_t>(context.Address("remaining"));
  Expect(by_default > 5000 && by_default <= 60000,
         "of the default are left " + std::to_string(by_default) + " ms");
}

void DeadlineExceeded(Context& context) {
  const auto begun = steady_clock::now();
  const lever_status code = CodeOf([&] {
    context.client.invoke({.timeout = milliseconds(200)}, context.Address("sleep"), 10000);
  });
  ExpectEqual(static_cast<int>(code), static_cast<int>(LEVER_DEADLINE_EXCEEDED), "status");
  Expect(steady_clock::now() - begun < seconds(2), "it took 2 s or more");
}

void CancelCall(Context& context) {
  const std::string token = Token("call");
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(milliseconds(100));
    stop.request_stop();
  });
  const auto begun = steady_clock::now();
  const lever_status code = CodeOf([&] {
    context.client.invoke({.stop = stop.get_token()}, context.Address("waitCancel"), token);
  });
  ExpectEqual(static_cast<int>(code), static_cast<int>(LEVER_CANCELLED), "status");
  Expect(steady_clock::now() - begun < seconds(2), "it did not end at once");
  ExpectCancelled(context, token);
}

void Metadata(Context& context) {
  const lever::CallOptions options{
      .metadata = {{"x-text", "some text"}, {"x-data-bin", std::string("\x00\xff\x7f", 3)}}};
  const auto ask = [&](const char* name) {
    return context.client.invoke(options, context.Address("metadata"), std::string(name));
  };
  ExpectEqual(Describe(ask("x-text")), Describe(lever::Value(std::string("some text"))), "text");
  const std::vector<char> bytes{'\x00', '\xff', '\x7f'};
  ExpectEqual(Describe(ask("x-data-bin")), Describe(lever::Value(bytes)), "bytes");
  ExpectEqual(Describe(ask("x-none")), std::string("nil"), "what is not there");
}

void BytesCall(Context& context) {
  lever::Raw bytes{std::string(100'000, '\0')};
  for (size_t i = 0; i < bytes.bytes.size(); ++i) bytes.bytes[i] = static_cast<char>(i * 7 + 128);
  Expect(context.client.invoke<lever::Raw>(context.Address("echo"), bytes) == bytes,
         "other bytes came back");
}

void LimitRequest(Context& context) {
  const auto size = [&](size_t bytes) {
    return context.client.invoke<size_t>(context.Address("size"),
                                         lever::Raw{std::string(bytes, 'x')});
  };
  ExpectEqual(size(kLargest), kLargest, "the size of what fits");
  ExpectEqual(static_cast<int>(CodeOf([&] { size(kLargest + 1); })),
              static_cast<int>(LEVER_RESOURCE_EXHAUSTED), "status of one byte more");
}

void LimitReply(Context& context) {
  const auto produce = [&](size_t bytes) {
    return context.client.invoke<lever::Raw>(context.Address("produce"), bytes).bytes.size();
  };
  ExpectEqual(produce(kLargest), kLargest, "the size of what fits");
  ExpectEqual(static_cast<int>(CodeOf([&] { produce(kLargest + 1); })),
              static_cast<int>(LEVER_RESOURCE_EXHAUSTED), "status of one byte more");
}

void ExpectNotFound(Context& context, const std::string& address) {
  lever_executed executed = LEVER_EXECUTED_YES;
  const lever_status code = CodeOf([&] { context.client.invoke(address); }, &executed);
  ExpectEqual(static_cast<int>(code), static_cast<int>(LEVER_NOT_FOUND), "status");
  ExpectEqual(static_cast<int>(executed), static_cast<int>(LEVER_EXECUTED_NO), "executed");
}

void CloseInFlight(Context& context) {
  lever::Client second(context.options);
  std::atomic<bool> begun{false};
  lever_status of_call = LEVER_OK;
  std::thread caller([&] {
    begun = true;
    of_call = CodeOf([&] { second.invoke(context.Address("sleep"), 10000); });
  });
  lever::Stream stream = second.stream(context.Address("echoChan"), std::string("hi"));
  ExpectEqual(stream.read<std::string>().value_or("nothing"), std::string("hi"), "greeting");
  while (!begun) std::this_thread::yield();
  std::this_thread::sleep_for(milliseconds(50));
  const auto closing = steady_clock::now();
  second.close();
  caller.join();
  const lever_status of_stream = CodeOf([&] { stream.read(); });
  Expect(steady_clock::now() - closing < seconds(2), "it did not end at once");
  ExpectEqual(static_cast<int>(of_call), static_cast<int>(LEVER_CANCELLED), "status of the call");
  ExpectEqual(static_cast<int>(of_stream), static_cast<int>(LEVER_CANCELLED),
              "status of the stream");
}

}  // namespace

void ExpectCancelled(Context& context, const std::string& token) {
  const auto until = steady_clock::now() + seconds(5);
  while (steady_clock::now() < until) {
    if (context.client.invoke<bool>(context.Address("wasCancelled"), token)) return;
    std::this_thread::sleep_for(milliseconds(10));
  }
  throw Failure("the service has not seen that its caller is gone");
}

std::string Token(const std::string& kind) {
  static std::atomic<int> next{0};
  return kind + "-cpp-" + std::to_string(::getpid()) + "-" + std::to_string(++next);
}

lever_status CodeOf(const std::function<void()>& run, lever_executed* executed) {
  try {
    run();
  } catch (const lever::Error& error) {
    if (executed != nullptr) *executed = error.executed();
    return error.code();
  }
  return LEVER_OK;
}

void AddCallCases(Cases& cases) {
  cases["error.value"] = ErrorValue;
  cases["error.bytes"] = ErrorBytes;
  cases["error.thrown"] = ErrorThrown;
  cases["deadline.context"] = DeadlineContext;
  cases["deadline.exceeded"] = DeadlineExceeded;
  cases["cancel.call"] = CancelCall;
  cases["metadata"] = Metadata;
  cases["bytes"] = BytesCall;
  cases["limit.request"] = LimitRequest;
  cases["limit.reply"] = LimitReply;
  cases["unknown.method"] = [](Context& context) {
    ExpectNotFound(context, context.Address("noSuchMethod"));
  };
  cases["unknown.service"] = [](Context& context) { ExpectNotFound(context, "/nobody/sayHello"); };
  cases["close.in_flight"] = CloseInFlight;
}

}  // namespace matrix
