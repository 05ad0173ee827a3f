// lever test [DIR] [-- ARGUMENTS]: becomes the test command of the service's language.
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

#include "daemon/lever/build_step.h"
#include "daemon/lever/command.h"
#include "daemon/lever/deployment.h"
#include "daemon/lever/installation.h"
#include "daemon/lever/output.h"

namespace lever::cli {
namespace {

namespace fs = std::filesystem;

bool Has(const std::string& directory, const char* name) {
  std::error_code error;
  return fs::exists(fs::path(directory) / name, error);
}

// What people run by hand in such a directory.
StatusOr<std::vector<std::string>> TestCommand(const std::string& directory,
                                               const deploy::Manifest& manifest) {
  if (!manifest.js_entry.empty()) {
    if (Has(directory, "package.json")) return std::vector<std::string>{"npm", "test", "--silent"};
    return std::vector<std::string>{"node", "--test"};
  }
  if (!manifest.py_entry.empty()) {
    for (const char* sign : {"pytest.ini", "conftest.py", "tests/conftest.py"}) {
      if (Has(directory, sign)) return std::vector<std::string>{"python3", "-m", "pytest"};
    }
    return std::vector<std::string>{"python3", "-m", "unittest"};
  }
  if (Has(directory, "go.mod")) return std::vector<std::string>{"go", "test", "./..."};
  if (Has(directory, "CMakePresets.json")) {
    return std::vector<std::string>{"cmake", "--workflow", "--preset", "test"};
  }
  return NotFound(
      "cannot tell how " + directory +
      " is tested: there is no jsEntry and no pyEntry in lever.json, and no go.mod and no "
      "CMakePresets.json with a workflow `test` beside it");
}

Status Become(const std::string& directory, std::vector<std::string> command) {
  const std::vector<std::string> environment =
      EnvironmentWith(TestEnvironment(FindInstallation()));
  std::vector<char*> arguments;
  for (std::string& argument : command) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  std::vector<char*> variables;
  for (const std::string& text : environment) variables.push_back(const_cast<char*>(text.c_str()));
  variables.push_back(nullptr);
  if (::chdir(directory.c_str()) != 0) return ErrnoStatus(errno, directory);
  ::execvpe(arguments[0], arguments.data(), variables.data());
  return ErrnoStatus(errno, "`" + command.front() + "`, which the tests are run with");
}

Status RunTests(const TestArguments& arguments) {
  LEVER_ASSIGN_OR_RETURN(const std::string text, ReadManifest(arguments.directory));
  LEVER_ASSIGN_OR_RETURN(const deploy::Manifest manifest, deploy::ParseManifest(text));
  LEVER_ASSIGN_OR_RETURN(std::vector<std::string> command,
                         TestCommand(arguments.directory, manifest));
  const bool is_npm = command.front() == "npm";
  if (is_npm && !arguments.extra.empty()) command.push_back("--");
  command.insert(command.end(), arguments.extra.begin(), arguments.extra.end());
  return Become(arguments.directory, std::move(command));
}

}  // namespace

int Test(const Globals& globals, const TestArguments& arguments) {
  return Report(globals, RunTests(arguments));
}

}  // namespace lever::cli
