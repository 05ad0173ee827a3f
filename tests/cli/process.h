// A program that a test runs: its input, its output, its end, each with a limit.
#ifndef TESTS_CLI_PROCESS_H_
#define TESTS_CLI_PROCESS_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "liblever/base/fd.h"

namespace lever::testing {

struct ProcessOptions {
  std::vector<std::string> argv;
  std::vector<std::string> environment;  // "NAME=value", beside PATH: nothing else is inherited
  std::string input;                     // standard input, then its end
  bool closed_input = false;             // no descriptor 0 at all
};

struct ProcessResult {
  int exit_code = -1;  // -1: ended by `signal`
  int signal = 0;
  std::string out;
  std::string err;
};

class Process {
 public:
  explicit Process(const ProcessOptions& options);
  ~Process();  // killed, if it has not ended
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int number) const;
  // Reads its output until it has ended. A process that takes longer than 30 s is killed.
  ProcessResult Wait();

 private:
  pid_t pid_ = -1;
  UniqueFd out_;
  UniqueFd err_;
  UniqueFd input_;  // keeps the file that it reads
};

inline ProcessResult Run(const ProcessOptions& options) { return Process(options).Wait(); }

}  // namespace lever::testing

#endif  // TESTS_CLI_PROCESS_H_
