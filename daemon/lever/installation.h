// The installation that this command belongs to: it knows where it lies, in a build tree or below a
// prefix, and so where Lever's packages for the languages are.
//
// Functions without state; any thread.
#ifndef DAEMON_LEVER_INSTALLATION_H_
#define DAEMON_LEVER_INSTALLATION_H_

#include <string>
#include <vector>

namespace lever::cli {

struct Installation {
  std::string programs;  // the folder of `lever` and the programs beside it
  std::string prefix;    // where find_package(lever) looks
  // The packages of the languages: <runtime>/node/node_modules/lever, <runtime>/python/lever and
  // <runtime>/go. "" if there are none.
  std::string runtime;
};

Installation FindInstallation();

// "NAME=value": with these a build step finds this installation's C and C++ packages before others.
std::vector<std::string> BuildEnvironment(const Installation& installation);
// The same, and tests in Node and Python find `lever` there, if they have none of their own.
std::vector<std::string> TestEnvironment(const Installation& installation);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_INSTALLATION_H_
