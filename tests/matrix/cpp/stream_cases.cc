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

constexpr int kPieces = 256;
constexpr size_t kPieceBytes = 65'536;
// Credit, windows and queues between hold less than this.
constexpr int64_t kHeldMax = 200;

void Echo(Context& context) {
  lever::Stream stream = context.client.stream(context.Address("echoChan"), std::string("hi"));
  std::jthread writer([&stream] {
    for (int i = 0; i < 100; ++i) stream.write(i);
    stream.end();
  });
  ExpectEqual(stream.read<std::string>().value_or("nothing"), std::string("hi"), "greeting");
  for (int i = 0; i < 100; ++i) ExpectEqual(stream.read<int>().value_or(-1), i, "message");
  const auto last = stream.read();
  Expect(last.has_value(), "the last message did not come");
  ExpectEqual(Describe(*last), Describe(lever::Value(std::make_tuple("end", 100))), "last message");
  Expect(!stream.read().has_value(), "the stream did not end");
}

void Down(Context& context) {
  lever::Stream stream = context.client.stream(context.Address("countChan"), 1000);
  int next = 0;
  for (const int message : stream.messages<int>()) ExpectEqual(message, next++, "message");
  ExpectEqual(next, 1000, "how many came");
}

void Up(Context& context) {
  lever::Stream stream = context.client.stream(context.Address("sumChan"));
  for (int i = 0; i < 1000; ++i) stream.write(i);
  stream.end();
  ExpectEqual(stream.read<int64_t>().value_or(-1), int64_t{499'500}, "sum");
  Expect(!stream.read().has_value(), "the stream did not end");
}

void Error(Context& context) {
  const std::map<std::string, int> thrown{{"at", 3}};
  lever::Stream stream = context.client.stream(context.Address("failChan"), 3, thrown);
  for (int i = 0; i < 3; ++i) ExpectEqual(stream.read<int>().value_or(-1), i, "message");
  try {
    stream.read();
  } catch (const lever::MethodError& error) {
    return ExpectEqual(Describe(error.value()), Describe(lever::Value(thrown)), "the error's value");
  }
  throw Failure("no error of the method came");
}

void Cancel(Context& context) {
  const std::string token = Token("stream");
  lever::Stream stream = context.client.stream(context.Address("waitCancelChan"), token);
  ExpectEqual(stream.read<std::string>().value_or("nothing"), std::string("waiting"), "message");
  stream.cancel();
  const lever_status code = CodeOf([&] { stream.read(); });
  ExpectEqual(static_cast<int>(code), static_cast<int>(LEVER_CANCELLED), "status");
  ExpectCancelled(context, token);
}

void Left(Context& context) {
  const std::string token = Token("left");
  {
    lever::Stream stream = context.client.stream(context.Address("waitCancelChan"), token);
    for (const std::string& message : stream.messages<std::string>()) {
      ExpectEqual(message, std::string("waiting"), "message");
      break;
    }
  }
  ExpectCancelled(context, token);
}

void PressureDown(Context& context) {
  const std::string token = Token("flood");
  lever::Stream stream =
      context.client.stream(context.Address("floodChan"), token, kPieceBytes, kPieces);
  std::this_thread::sleep_for(milliseconds(300));
  const auto taken = context.client.invoke<int64_t>(context.Address("flooded"), token);
  Expect(taken < kHeldMax, std::to_string(taken) + " messages were taken that nobody read");
  int count = 0;
  while (stream.read<lever::Raw>()) ++count;
  ExpectEqual(count, kPieces, "how many came");
}

void PressureUp(Context& context) {
  const std::string token = Token("slow");
  lever::Stream stream = context.client.stream(context.Address("slowChan"), token);
  std::atomic<int> written{0};
  std::jthread writer([&] {
    const lever::Raw piece{std::string(kPieceBytes, '\0')};
    for (int i = 0; i < kPieces; ++i) {
      stream.write(piece);
      ++written;
    }
    stream.end();
  });
  for (int last = -1; written != last;) {
    last = written;
    std::this_thread::sleep_for(milliseconds(300));
  }
  const int blocked = written;
  context.client.invoke(context.Address("release"), token);
  const int64_t count = stream.read<int64_t>().value_or(-1);
  Expect(blocked < kHeldMax, std::to_string(blocked) + " messages were taken that nobody read");
  ExpectEqual(count, int64_t{kPieces}, "how many came");
}

}  // namespace

void AddStreamCases(Cases& cases) {
  cases["cancel.stream"] = Cancel;
  cases["stream.echo"] = Echo;
  cases["stream.down"] = Down;
  cases["stream.up"] = Up;
  cases["stream.error"] = Error;
  cases["stream.both_ends"] = Left;
  cases["pressure.down"] = PressureDown;
  cases["pressure.up"] = PressureUp;
}

}  // namespace matrix
