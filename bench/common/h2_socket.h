// An nghttp2 session with its socket: reads what there is, writes what the session wants to send, once a
// turn. The least that an HTTP/2 program on nghttp2 and epoll can be.
//
// Threads: one.
#ifndef BENCH_COMMON_H2_SOCKET_H_
#define BENCH_COMMON_H2_SOCKET_H_

#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <vector>

#include "bench/common/sockets.h"

namespace lever::bench {

class H2Socket {
 public:
  H2Socket(int socket, int epoll) : socket_(socket), epoll_(epoll) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = this;
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket_, &event);
  }
  H2Socket(const H2Socket&) = delete;
  H2Socket& operator=(const H2Socket&) = delete;
  ~H2Socket() {
    nghttp2_session_del(session);
    ::close(socket_);
  }

  // False: it has ended.
  bool Read(std::vector<uint8_t>& buffer) {
    const ssize_t size = ::recv(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0) return errno == EAGAIN;
    if (size == 0) return false;
    return nghttp2_session_mem_recv(session, buffer.data(), static_cast<size_t>(size)) >= 0;
  }

  bool Write() {
    for (;;) {
      while (out_.size() < kOutBytes) {
        const uint8_t* bytes = nullptr;
        const ssize_t size = nghttp2_session_mem_send(session, &bytes);
        if (size < 0) return false;
        if (size == 0) break;
        out_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
      }
      if (out_.empty()) return true;
      const ssize_t sent = ::send(socket_, out_.data(), out_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno != EAGAIN) return false;
        WantOutput(EPOLLIN | EPOLLOUT);
        return true;
      }
      out_.erase(0, static_cast<size_t>(sent));
      if (out_.empty()) {
        if (wanted_ != EPOLLIN) WantOutput(EPOLLIN);
        // An idle connection keeps no buffer.
        if (out_.capacity() > kKeptBytes && nghttp2_session_want_write(session) == 0) {
          out_.shrink_to_fit();
        }
      }
    }
  }

  nghttp2_session* session = nullptr;

 private:
  static constexpr size_t kOutBytes = 64 * 1024;
  static constexpr size_t kKeptBytes = 64 * 1024 + 16 * 1024 + 9;

  void WantOutput(uint32_t events) {
    if (wanted_ == events) return;
    wanted_ = events;
    epoll_event event{};
    event.events = events;
    event.data.ptr = this;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, socket_, &event);
  }

  const int socket_;
  const int epoll_;
  uint32_t wanted_ = EPOLLIN;
  std::string out_;
};

}  // namespace lever::bench

#endif  // BENCH_COMMON_H2_SOCKET_H_
