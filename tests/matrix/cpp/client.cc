// The client of the matrix in C++: tests/matrix/README.md says how it is called and what it prints.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <lever/lever.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>

#include "tests/matrix/cpp/cases.h"
#include "tests/matrix/cpp/describe.h"
#include "tests/matrix/cpp/values.h"

namespace {

using nlohmann::json;

struct Arguments {
  std::string service;
  std::string values_file;
  std::set<std::string> only;
  std::string way;
};

bool Parse(int argc, char** argv, Arguments* arguments) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--introduced" || word == "--through-host" || word == "--tcp") {
      arguments->way = word;
    } else if (word == "--values" && i + 1 < argc) {
      arguments->values_file = argv[++i];
    } else if (word == "--only" && i + 1 < argc) {
      std::istringstream names(argv[++i]);
      for (std::string name; std::getline(names, name, ',');) arguments->only.insert(name);
    } else if (!word.starts_with("-") && arguments->service.empty()) {
      arguments->service = word;
    } else {
      return false;
    }
  }
  return !arguments->service.empty() && !arguments->values_file.empty() && !arguments->way.empty();
}

std::string Expected(const json& entry) {
  if (entry.is_string()) return entry;
  const char* language = std::getenv("SERVICE_LANGUAGE");
  for (const std::string& key : {std::string("cpp"), std::string(language ? language : "")}) {
    if (entry.contains(key)) return entry[key];
  }
  return entry["any"];
}

void AddValueCases(const std::string& file, matrix::Cases& cases) {
  const auto values = matrix::AllValues();
  const json listed = json::parse(std::ifstream(file));
  for (const auto& [name, entry] : listed.items()) {
    const auto found = values.find(name);
    cases["value." + name] = [expected = Expected(entry), entry = entry,
                              value = found == values.end() ? std::nullopt
                                                            : std::optional(found->second)](
                                 matrix::Context& context) {
      matrix::Expect(value.has_value(), "this client has no such value");
      const std::string own = entry.is_string() ? std::string(entry) : std::string(entry["any"]);
      matrix::ExpectEqual(matrix::Describe(*value), own, "the value here");
      matrix::ExpectEqual(
          context.client.invoke<std::string>(context.Address("describe"), *value), expected,
          "what the service got");
      matrix::ExpectEqual(matrix::Describe(context.client.invoke(context.Address("echo"), *value)),
                          expected, "what came back");
    };
  }
}

void AwaitIntroduction(lever::Client& client, const std::string& service) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (std::chrono::steady_clock::now() < until) {
    client.invoke("/" + service + "/echo", 1);
    if (client.stats().calls_direct > 0) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  throw matrix::Failure("calls do not go straight to the service");
}

bool Run(const std::string& name, const std::function<void(matrix::Context&)>& run,
         matrix::Context& context) {
  json line{{"case", name}, {"ok", true}};
  try {
    run(context);
  } catch (const std::exception& error) {
    line["ok"] = false;
    line["detail"] = error.what();
  }
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
  return line["ok"];
}

int RunAll(const Arguments& arguments) {
  lever::ClientOptions options;
  options.only_through_host = arguments.way == "--through-host";
  lever::Client client(options);
  if (arguments.way == "--introduced") AwaitIntroduction(client, arguments.service);
  matrix::Context context{options, client, arguments.service};
  matrix::Cases cases;
  AddValueCases(arguments.values_file, cases);
  matrix::AddCallCases(cases);
  matrix::AddStreamCases(cases);
  if (arguments.way == "--tcp") cases.erase("unknown.service");
  bool all = true;
  for (const auto& [name, run] : cases) {
    if (arguments.only.empty() || arguments.only.contains(name)) all &= Run(name, run, context);
  }
  return all ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  if (!Parse(argc, argv, &arguments)) {
    std::fprintf(stderr, "usage: client SERVICE --values FILE [--only CASE,...] "
                         "--introduced|--through-host|--tcp\n");
    return 2;
  }
  try {
    return RunAll(arguments);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "client: %s\n", error.what());
    return 1;
  }
}
