// The cases of the matrix, as a client in C++ runs them: tests/matrix/README.md says what holds in each.
#ifndef TESTS_MATRIX_CPP_CASES_H_
#define TESTS_MATRIX_CPP_CASES_H_

#include <functional>
#include <lever/lever.hpp>
#include <map>
#include <stdexcept>
#include <string>

namespace matrix {

// What did not hold.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

inline void Expect(bool holds, const std::string& what) {
  if (!holds) throw Failure(what);
}
template <typename A, typename B>
void ExpectEqual(const A& got, const B& wanted, const std::string& what) {
  if (got == wanted) return;
  throw Failure(what + ": got " + lever::Value(got).json() + ", wanted " +
                lever::Value(wanted).json());
}

struct Context {
  lever::ClientOptions options;  // of the client under test, for cases that need another
  lever::Client& client;
  std::string service;

  std::string Address(const std::string& method) const { return "/" + service + "/" + method; }
};

using Cases = std::map<std::string, std::function<void(Context&)>>;

void AddCallCases(Cases& cases);
void AddStreamCases(Cases& cases);

// Calls `wasCancelled` until it says yes, for at most 5 s.
void ExpectCancelled(Context& context, const std::string& token);
// A name that no other case has.
std::string Token(const std::string& kind);
// The code of the Error that `run` throws; LEVER_OK if it throws none.
lever_status CodeOf(const std::function<void()>& run, lever_executed* executed = nullptr);

}  // namespace matrix

#endif  // TESTS_MATRIX_CPP_CASES_H_
