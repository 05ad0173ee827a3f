// Values: the check that each one passes, and JSON to MessagePack and back.
#include <benchmark/benchmark.h>

#include <string>

#include "liblever/value/check.h"
#include "liblever/value/json.h"

namespace {

// A record as an API has it, and an array of so many of them.
std::string Json(int64_t records) {
  std::string json = "[";
  for (int64_t i = 0; i < records; ++i) {
    if (i > 0) json += ",";
    json += R"({"id":)" + std::to_string(1000000 + i) +
            R"(,"name":"Ann Example","tags":["a","b","c"],"score":0.75,"active":true,"note":null})";
  }
  return json + "]";
}

std::string Packed(const benchmark::State& state) {
  return *lever::value::JsonToMessagePack(Json(state.range(0)));
}

void Check(benchmark::State& state) {
  const std::string packed = Packed(state);
  const lever::value::Bytes bytes(reinterpret_cast<const uint8_t*>(packed.data()), packed.size());
  for (auto _ : state) {
    if (!lever::value::CheckValue(bytes).ok()) state.SkipWithError("it is refused");
  }
  state.SetBytesProcessed(static_cast<int64_t>(packed.size()) * state.iterations());
}
BENCHMARK(Check)->Arg(1)->Arg(1000);

void FromJson(benchmark::State& state) {
  const std::string json = Json(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(lever::value::JsonToMessagePack(json));
  state.SetBytesProcessed(static_cast<int64_t>(json.size()) * state.iterations());
}
BENCHMARK(FromJson)->Arg(1)->Arg(1000);

void ToJson(benchmark::State& state) {
  const std::string packed = Packed(state);
  for (auto _ : state) benchmark::DoNotOptimize(lever::value::MessagePackToJson(packed));
  state.SetBytesProcessed(static_cast<int64_t>(packed.size()) * state.iterations());
}
BENCHMARK(ToJson)->Arg(1)->Arg(1000);

}  // namespace
