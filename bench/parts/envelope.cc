// The envelope round a payload: written, and parsed again.
#include <benchmark/benchmark.h>

#include <string>

#include "liblever/base/slice.h"
#include "liblever/route/envelope.h"

namespace {

using lever::Slice;
using lever::SliceList;
using lever::route::Kind;

SliceList Payload(const benchmark::State& state) {
  return {Slice::Copy(std::string(static_cast<size_t>(state.range(0)), 'x'))};
}

void WriteEnvelope(benchmark::State& state) {
  const SliceList payload = Payload(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(lever::route::WriteEnvelope(Kind::kRaw, payload));
  }
}
BENCHMARK(WriteEnvelope)->Arg(32)->Arg(65536);

void ParseEnvelope(benchmark::State& state) {
  const SliceList message = lever::route::WriteEnvelope(Kind::kRaw, Payload(state));
  const Slice whole = lever::Flatten(message);
  for (auto _ : state) {
    auto parsed = lever::route::ParseEnvelope(SliceList{whole});
    if (!parsed.ok()) state.SkipWithError("it is not parsed");
    benchmark::DoNotOptimize(parsed);
  }
}
BENCHMARK(ParseEnvelope)->Arg(32)->Arg(65536);

}  // namespace
