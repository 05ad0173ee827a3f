// For a runtime that was started ahead of the service which it will run: waiting until that is
// known.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "functions.h"

namespace lever::node {
namespace {

constexpr size_t kPacketBytesMax = 64 * 1024;
// stdout, stderr, and the two sockets of an instance, under these numbers.
constexpr int kPlaces[] = {1, 2, 3, 4};
constexpr size_t kDescriptors = sizeof kPlaces / sizeof kPlaces[0];

// Takes the packet and the descriptors that come with it. -1: there is none, and never will be.
ssize_t Receive(int socket, char* buffer, int* fds) {
  iovec piece{buffer, kPacketBytesMax};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kDescriptors)];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do {
    size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (size <= 0 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || header == nullptr ||
      header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof(int) * kDescriptors)) {
    return -1;
  }
  std::memcpy(fds, CMSG_DATA(header), sizeof(int) * kDescriptors);
  return size;
}

// takeOver(socket) -> the packet. It waits, and the thread does nothing else. Undefined: the host
// is gone. The socket, which is one of the places, is closed.
Napi::Value TakeOver(const Napi::CallbackInfo& info) {
  static char buffer[kPacketBytesMax];
  int fds[kDescriptors];
  const ssize_t size = Receive(info[0].As<Napi::Number>().Int32Value(), buffer, fds);
  if (size < 0) return info.Env().Undefined();
  // What came has numbers above: everything below was open.
  for (size_t i = 0; i < kDescriptors; ++i) {
    ::dup2(fds[i], kPlaces[i]);
    ::close(fds[i]);
  }
  return Napi::Buffer<char>::Copy(info.Env(), buffer, static_cast<size_t>(size));
}

// limitDescriptors(count) -> whether there is that limit now, also for what this process starts.
Napi::Value LimitDescriptors(const Napi::CallbackInfo& info) {
  const rlim_t count = info[0].As<Napi::Number>().Uint32Value();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max > count) limit.rlim_max = count;
  limit.rlim_cur = limit.rlim_max;
  return Napi::Boolean::New(info.Env(), ::setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

}  // namespace

void DefineTakeoverFunctions(Napi::Env env, Napi::Object exports, Binding* binding) {
  Define<TakeOver>(env, exports, "takeOver", binding);
  Define<LimitDescriptors>(env, exports, "limitDescriptors", binding);
}

}  // namespace lever::node
