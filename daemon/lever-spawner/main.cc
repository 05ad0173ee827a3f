// lever-spawner: started by a host, with one end of a socketpair as descriptor 3. See
// liblever/host/fleet/spawner.h.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "liblever/base/fd.h"
#include "liblever/host/fleet/sandbox_inside.h"
#include "liblever/host/fleet/spawner.h"

namespace {

bool IsHostSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

// A host may run without its standard descriptors; what is opened here must not become one.
bool FillStandardDescriptors() {
  for (;;) {
    const int fd = open("/dev/null", O_RDWR);
    if (fd < 0) return false;
    if (fd > STDERR_FILENO) return close(fd) == 0;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], lever::fleet::kInsideWord) == 0) {
    lever::fleet::RunInside(argv + 2);
  }
  using lever::fleet::kSpawnerSocketFd;
  if (!IsHostSocket(kSpawnerSocketFd)) {
    std::fprintf(stderr,
                 "lever-spawner is started by leverd, or by a program that embeds a host\n");
    return 2;
  }
  if (!FillStandardDescriptors()) return 1;
  fcntl(kSpawnerSocketFd, F_SETFD, FD_CLOEXEC);
  return lever::fleet::Spawner(lever::UniqueFd(kSpawnerSocketFd)).Run();
}
