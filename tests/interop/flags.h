// The command line of the interop programs in C++.
#ifndef TESTS_INTEROP_FLAGS_H_
#define TESTS_INTEROP_FLAGS_H_

#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

namespace interop {

// Flags as Go spells them: `--name=value`, and a bare `--name` is true.
class Flags {
 public:
  Flags(int argc, char** argv) {
    for (int i = 1; i < argc; i++) {
      std::string word = argv[i];
      word.erase(0, word.find_first_not_of('-'));
      const size_t equals = word.find('=');
      values_[word.substr(0, equals)] =
          equals == std::string::npos ? "true" : word.substr(equals + 1);
    }
  }

  std::string Text(const std::string& name, const std::string& otherwise = "") const {
    const auto found = values_.find(name);
    return found == values_.end() ? otherwise : found->second;
  }
  bool Truth(const std::string& name) const { return Text(name) == "true"; }
  int Number(const std::string& name, int otherwise) const {
    return std::atoi(Text(name, std::to_string(otherwise)).c_str());
  }

 private:
  std::map<std::string, std::string> values_;
};

// What a case found wrong.
struct Failed : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <typename Got, typename Wanted>
void Expect(const std::string& what, const Got& got, const Wanted& wanted) {
  if (got == wanted) return;
  std::ostringstream text;
  text << what << " is " << got << ", not " << wanted;
  throw Failed(text.str());
}

// Runs what --test_case names, one after the other, and tells each outcome. Whether all have passed.
inline bool RunCases(const Flags& flags, const std::map<std::string, std::function<void()>>& cases) {
  std::istringstream names(flags.Text("test_case"));
  bool passed = true;
  for (std::string name; std::getline(names, name, ',');) {
    try {
      const auto found = cases.find(name);
      if (found == cases.end()) throw Failed("there is no such case");
      found->second();
      std::cout << "case " << name << ": ok" << std::endl;
    } catch (const Failed& failed) {
      std::cout << "case " << name << ": FAILED " << failed.what() << std::endl;
      std::cerr << name << ": " << failed.what() << "\n";
      passed = false;
    }
  }
  return passed;
}

}  // namespace interop

#endif  // TESTS_INTEROP_FLAGS_H_
