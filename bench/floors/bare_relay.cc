// The floor of a relay: two nghttp2 sessions and epoll, one thread. What comes in on a stream of the one goes
// out on a stream of the other, headers, messages and trailers as they are. It looks at nothing, keeps no
// limits, and has one upstream.
//
//   bare_relay LISTEN_ADDRESS UPSTREAM_ADDRESS
#include <memory>
#include <string>
#include <vector>

#include "bench/common/h2_socket.h"
#include "bench/common/load.h"
#include "bench/common/sockets.h"

namespace {

using lever::bench::H2Socket;

constexpr int32_t kStreamWindowBytes = 1024 * 1024;
constexpr int32_t kConnectionWindowBytes = 4 * 1024 * 1024;

struct Pair;

// One direction of a relayed stream: what was read on the one side and is to be written on the other.
struct Way {
  std::string text;  // of the header fields, one after the other
  struct Field {
    size_t name, name_size, value_size;
    uint8_t flags;
  };
  std::vector<Field> fields;
  std::vector<nghttp2_nv> array;
  std::string body;
  bool begun = false;     // its headers were submitted
  bool ended = false;     // nothing follows
  bool trailers = false;  // they follow the body
  bool deferred = false;
};

struct Relayed {
  Pair* pair = nullptr;
  int32_t front = 0;
  int32_t back = 0;
  Way request;
  Way response;
};

// A connection that was accepted, and its own one to the upstream.
struct Pair {
  std::unique_ptr<H2Socket> front;
  std::unique_ptr<H2Socket> back;
  std::vector<std::unique_ptr<Relayed>> streams;
  std::vector<Relayed*> free;
};

Relayed* Take(Pair* pair) {
  if (pair->free.empty()) {
    pair->free.push_back(pair->streams.emplace_back(std::make_unique<Relayed>()).get());
  }
  Relayed* relayed = pair->free.back();
  pair->free.pop_back();
  relayed->pair = pair;
  relayed->front = relayed->back = 0;
  for (Way* way : {&relayed->request, &relayed->response}) {
    way->text.clear();
    way->fields.clear();
    way->body.clear();
    way->begun = way->ended = way->trailers = way->deferred = false;
  }
  return relayed;
}

const std::vector<nghttp2_nv>& Fields(Way& way) {
  way.array.clear();
  auto* text = reinterpret_cast<uint8_t*>(way.text.data());
  for (const Way::Field& field : way.fields) {
    way.array.push_back({text + field.name, text + field.name + field.name_size, field.name_size,
                         field.value_size, field.flags});
  }
  return way.array;
}

void Clear(Way& way) {
  way.text.clear();
  way.fields.clear();
}

template <bool kToBack>
ssize_t ReadBody(nghttp2_session* session, int32_t id, uint8_t* out, size_t size, uint32_t* flags,
                 nghttp2_data_source* source, void*) {
  auto* relayed = static_cast<Relayed*>(source->ptr);
  Way& way = kToBack ? relayed->request : relayed->response;
  const size_t taken = std::min(size, way.body.size());
  if (taken == 0 && !way.ended) {
    way.deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  std::memcpy(out, way.body.data(), taken);
  way.body.erase(0, taken);
  if (way.ended && way.body.empty()) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (way.trailers) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      const auto& fields = Fields(way);
      nghttp2_submit_trailer(session, id, fields.data(), fields.size());
    }
  }
  return static_cast<ssize_t>(taken);
}

void Resume(H2Socket& to, int32_t id, Way& way) {
  if (!way.deferred) return;
  way.deferred = false;
  nghttp2_session_resume_data(to.session, id);
}

// The way that what comes in on `session` belongs to.
Way& WayOf(nghttp2_session* session, Relayed* relayed) {
  return session == relayed->pair->front->session ? relayed->request : relayed->response;
}

int OnBeginHeaders(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  auto* pair = static_cast<Pair*>(user_data);
  if (session != pair->front->session || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
  Relayed* relayed = Take(pair);
  relayed->front = frame->hd.stream_id;
  nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, relayed);
  return 0;
}

int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
             size_t name_size, const uint8_t* value, size_t value_size, uint8_t flags, void*) {
  auto* relayed =
      static_cast<Relayed*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
  if (relayed == nullptr) return 0;
  Way& way = WayOf(session, relayed);
  way.fields.push_back({way.text.size(), name_size, value_size, flags});
  way.text.append(reinterpret_cast<const char*>(name), name_size);
  way.text.append(reinterpret_cast<const char*>(value), value_size);
  return 0;
}

void OnHeaders(Relayed* relayed, bool request, bool end) {
  Way& way = request ? relayed->request : relayed->response;
  H2Socket& to = request ? *relayed->pair->back : *relayed->pair->front;
  way.ended |= end;
  if (way.begun) {
    way.trailers = true;
    Resume(to, request ? relayed->back : relayed->front, way);
    return;
  }
  way.begun = true;
  nghttp2_data_provider body{};
  body.source.ptr = relayed;
  body.read_callback = request ? ReadBody<true> : ReadBody<false>;
  const nghttp2_data_provider* provider = end ? nullptr : &body;
  const auto& fields = Fields(way);
  if (request) {
    relayed->back = nghttp2_submit_request(to.session, nullptr, fields.data(), fields.size(),
                                           provider, relayed);
  } else {
    nghttp2_submit_response(to.session, relayed->front, fields.data(), fields.size(), provider);
  }
  Clear(way);
}

int OnFrame(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
  if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
  auto* relayed =
      static_cast<Relayed*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
  if (relayed == nullptr) return 0;
  const bool request = session == relayed->pair->front->session;
  const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame->hd.type == NGHTTP2_HEADERS) {
    OnHeaders(relayed, request, end);
  } else if (end) {
    Way& way = request ? relayed->request : relayed->response;
    way.ended = true;
    Resume(request ? *relayed->pair->back : *relayed->pair->front,
           request ? relayed->back : relayed->front, way);
  }
  return 0;
}

int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* bytes, size_t size, void*) {
  auto* relayed = static_cast<Relayed*>(nghttp2_session_get_stream_user_data(session, id));
  if (relayed == nullptr) return 0;
  const bool request = session == relayed->pair->front->session;
  Way& way = request ? relayed->request : relayed->response;
  way.body.append(reinterpret_cast<const char*>(bytes), size);
  Resume(request ? *relayed->pair->back : *relayed->pair->front,
         request ? relayed->back : relayed->front, way);
  return 0;
}

int OnStreamClose(nghttp2_session* session, int32_t id, uint32_t error, void* user_data) {
  auto* pair = static_cast<Pair*>(user_data);
  auto* relayed = static_cast<Relayed*>(nghttp2_session_get_stream_user_data(session, id));
  if (relayed == nullptr) return 0;
  const bool at_front = session == pair->front->session;
  const int32_t other_id = at_front ? relayed->back : relayed->front;
  (at_front ? relayed->front : relayed->back) = 0;
  H2Socket& other = at_front ? *pair->back : *pair->front;
  if (error != NGHTTP2_NO_ERROR && other_id > 0) {
    nghttp2_submit_rst_stream(other.session, NGHTTP2_FLAG_NONE, other_id, error);
  }
  if (relayed->front == 0 && relayed->back <= 0) pair->free.push_back(relayed);
  return 0;
}

nghttp2_session_callbacks* Callbacks() {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, OnBeginHeaders);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, OnFrame);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnStreamClose);
  return callbacks;
}

void Settings(nghttp2_session* session) {
  const nghttp2_settings_entry entries[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindowBytes}};
  nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries, 2);
  nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, kConnectionWindowBytes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) lever::bench::Die("usage: bare_relay LISTEN_ADDRESS UPSTREAM_ADDRESS");
  const int listener = lever::bench::ListenOn(argv[1]);
  lever::bench::ExitWithInput();
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event listening{};
  listening.events = EPOLLIN;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
  nghttp2_session_callbacks* callbacks = Callbacks();
  std::vector<std::unique_ptr<Pair>> pairs;
  std::vector<uint8_t> buffer(64 * 1024);
  for (;;) {
    epoll_event events[64];
    const int count = ::epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr != nullptr) {
        static_cast<H2Socket*>(events[i].data.ptr)->Read(buffer);
        continue;
      }
      const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      lever::bench::NoDelay(socket);
      Pair& pair = *pairs.emplace_back(std::make_unique<Pair>());
      pair.front = std::make_unique<H2Socket>(socket, epoll);
      pair.back = std::make_unique<H2Socket>(lever::bench::ConnectTo(argv[2]), epoll);
      nghttp2_session_server_new(&pair.front->session, callbacks, &pair);
      nghttp2_session_client_new(&pair.back->session, callbacks, &pair);
      Settings(pair.front->session);
      Settings(pair.back->session);
    }
    // A pair ends with the bench: nothing else connects twice.
    for (auto& pair : pairs) {
      if (pair == nullptr) continue;
      if (!pair->back->Write() || !pair->front->Write()) pair.reset();
    }
  }
}
