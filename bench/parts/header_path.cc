// The headers of a call: put together, through HPACK as a warm connection has it, and read again.
#include <benchmark/benchmark.h>
#include <nghttp2/nghttp2.h>

#include <string_view>
#include <vector>

#include "liblever/rpc/headers.h"
#include "liblever/rpc/limits.h"

namespace {

using lever::rpc::HeaderList;

// As docs/wire.md shows them; the timeout differs from call to call.
void Fill(HeaderList& headers, int64_t call) {
  static constexpr std::string_view kTimeouts[] = {"59994038u", "59993911u", "59990277u"};
  headers.Clear();
  headers.Add(":method", "POST");
  headers.Add(":scheme", "http");
  headers.Add(":path", "/lever.v1.Lever/Invoke");
  headers.Add(":authority", "127.0.0.1:39163");
  headers.Add("te", "trailers");
  headers.Add("content-type", "application/grpc");
  headers.Add("user-agent", "lever/0.1.0");
  headers.Add("lever-proto", "1");
  headers.Add("lever-url", "lever://dev.lever/counter/add");
  headers.Add("lever-attempt", "1");
  headers.Add("grpc-timeout", kTimeouts[call % 3], lever::rpc::Indexing::kNever);
}

void FillHeaders(benchmark::State& state) {
  HeaderList headers;
  int64_t call = 0;
  for (auto _ : state) {
    Fill(headers, ++call);
    benchmark::DoNotOptimize(headers);
  }
}
BENCHMARK(FillHeaders);

uint8_t* Bytes(std::string_view text) {
  return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));
}

// Reads a block as a session does; false if it is broken.
bool Inflate(nghttp2_hd_inflater* inflater, const uint8_t* block, size_t size, HeaderList& out) {
  for (;;) {
    nghttp2_nv field;
    int flags = 0;
    const ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, block, size, 1);
    if (used < 0) return false;
    block += used;
    size -= static_cast<size_t>(used);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      out.Add({reinterpret_cast<char*>(field.name), field.namelen},
              {reinterpret_cast<char*>(field.value), field.valuelen});
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) {
      nghttp2_hd_inflate_end_headers(inflater);
      return true;
    }
    if (size == 0 && (flags & NGHTTP2_HD_INFLATE_EMIT) == 0) return false;
  }
}

void HeadersThroughHpack(benchmark::State& state) {
  nghttp2_hd_deflater* deflater = nullptr;
  nghttp2_hd_inflater* inflater = nullptr;
  nghttp2_hd_deflate_new(&deflater, lever::rpc::kHeaderTableBytes);
  nghttp2_hd_inflate_new(&inflater);
  HeaderList sent, received;
  std::vector<nghttp2_nv> fields;
  std::vector<uint8_t> block(4096);
  int64_t call = 0;
  for (auto _ : state) {
    Fill(sent, ++call);
    fields.clear();
    for (size_t i = 0; i < sent.size(); ++i) {
      const auto field = sent[i];
      const bool never = field.indexing == lever::rpc::Indexing::kNever;
      fields.push_back({Bytes(field.name), Bytes(field.value), field.name.size(), field.value.size(),
                        static_cast<uint8_t>(never ? NGHTTP2_NV_FLAG_NO_INDEX : 0)});
    }
    const ssize_t size = nghttp2_hd_deflate_hd(deflater, block.data(), block.size(), fields.data(),
                                               fields.size());
    received.Clear();
    if (size < 0 || !Inflate(inflater, block.data(), static_cast<size_t>(size), received) ||
        received.size() != sent.size()) {
      state.SkipWithError("the headers do not come through");
      break;
    }
    benchmark::DoNotOptimize(received);
  }
  nghttp2_hd_deflate_del(deflater);
  nghttp2_hd_inflate_del(inflater);
}
BENCHMARK(HeadersThroughHpack);

}  // namespace
