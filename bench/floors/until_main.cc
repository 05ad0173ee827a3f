// How long it takes from fork to main() of a program: starts it COUNT times, one after the other, and prints
// {"ms":[...]}. The service of the bench is told by LEVER_BENCH_UNTIL_MAIN to write a byte as soon as main()
// runs, and to end; of any other program its end is waited for.
//
//   until_main COUNT PROGRAM [ARGUMENT...]
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "bench/common/load.h"

int main(int argc, char** argv) {
  if (argc < 3) lever::bench::Die("usage: until_main COUNT PROGRAM [ARGUMENT...]");
  ::setenv("LEVER_BENCH_UNTIL_MAIN", "1", 1);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  std::printf("{\"ms\":[");
  std::fflush(stdout);
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    int output[2];
    if (::pipe2(output, O_CLOEXEC) != 0) lever::bench::Die("no pipe");
    const int64_t began_ns = lever::bench::NowNs();
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(null, STDIN_FILENO);
      ::dup2(output[1], STDOUT_FILENO);
      ::execv(argv[2], argv + 2);
      ::_exit(127);
    }
    ::close(output[1]);
    char byte;
    (void)!::read(output[0], &byte, 1);
    const int64_t took_ns = lever::bench::NowNs() - began_ns;
    ::close(output[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      lever::bench::Die(std::string(argv[2]) + " did not run");
    }
    std::printf("%s%.4f", i == 0 ? "" : ",", static_cast<double>(took_ns) / 1e6);
    std::fflush(stdout);
  }
  std::printf("]}\n");
  return 0;
}
