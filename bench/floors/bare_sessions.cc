// The floor of an idle connection: an nghttp2 server session and its socket, and nothing else.
//
//   bare_sessions LISTEN_ADDRESS
#include <memory>
#include <vector>

#include "bench/common/h2_socket.h"
#include "bench/common/load.h"
#include "bench/common/sockets.h"

int main(int argc, char** argv) {
  if (argc != 2) lever::bench::Die("usage: bare_sessions LISTEN_ADDRESS");
  const int listener = lever::bench::ListenOn(argv[1]);
  lever::bench::ExitWithInput();
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  epoll_event listening{};
  listening.events = EPOLLIN;
  ::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &listening);
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  std::vector<uint8_t> buffer(64 * 1024);
  for (;;) {
    epoll_event events[64];
    const int count = ::epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; ++i) {
      auto* connection = static_cast<lever::bench::H2Socket*>(events[i].data.ptr);
      if (connection == nullptr) {
        const int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (socket < 0) continue;
        lever::bench::NoDelay(socket);
        connection = new lever::bench::H2Socket(socket, epoll);
        nghttp2_session_server_new(&connection->session, callbacks, nullptr);
        const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, 1000};
        nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &entry, 1);
      } else if (!connection->Read(buffer)) {
        delete connection;
        continue;
      }
      if (!connection->Write()) delete connection;
    }
  }
}
