// What the shared libraries export: the functions of the headers, all of them and nothing else,
// under a version node.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Output(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  while (const size_t size = fread(buffer, 1, sizeof(buffer), pipe)) text.append(buffer, size);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return text;
}

// The functions that a header declares with LEVER_API.
void AddDeclared(const std::string& header, std::set<std::string>* names) {
  const std::string text = ReadFile(std::string(LEVER_SOURCE_DIR) + "/include/lever/" + header);
  const std::regex declaration("LEVER_API[^;(]*\\b(lever_[a-z0-9_]+)\\(");
  for (auto it = std::sregex_iterator(text.begin(), text.end(), declaration);
       it != std::sregex_iterator(); ++it) {
    names->insert((*it)[1]);
  }
}

// What a library defines for others, with its version.
std::set<std::string> Exported(const std::string& library) {
  std::set<std::string> names;
  std::istringstream lines(Output("nm -D --defined-only '" + library + "'"));
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(line.rfind(' ') + 1);
    if (name != "LEVER_0") names.insert(name);
  }
  return names;
}

void ExpectExactly(const std::string& library, const std::vector<std::string>& headers) {
  std::set<std::string> declared;
  for (const std::string& header : headers) AddDeclared(header, &declared);
  ASSERT_GT(declared.size(), 30u) << "the headers were not understood";
  std::set<std::string> versioned;
  for (const std::string& name : declared) versioned.insert(name + "@@LEVER_0");
  EXPECT_EQ(Exported(library), versioned);
}

TEST(SymbolsTest, LibleverExportsItsHeadersAndNothingElse) {
  ExpectExactly(LEVER_LIBRARY, {"lever.h", "policy.h"});
}

// Nothing that Node exports a copy of may be taken from outside.
TEST(SymbolsTest, LibleverNeedsNothingThatAProgramMayHaveItsOwnCopyOf) {
  const std::string undefined = Output("nm -D --undefined-only '" LEVER_LIBRARY "'");
  for (const char* foreign : {"nghttp2_", "SSL_", "XXH", "msgpack", "uv_"}) {
    EXPECT_EQ(undefined.find(foreign), std::string::npos) << foreign;
  }
  const std::string needed = Output("objdump -p '" LEVER_LIBRARY "'");
  EXPECT_NE(needed.find("SONAME               liblever.so.0"), std::string::npos) << needed;
  EXPECT_NE(needed.find("SYMBOLIC"), std::string::npos);
  std::istringstream lines(needed);
  const std::regex library("^ +NEEDED +(.*)$");
  const std::regex usual(
      "(libstdc\\+\\+|libgcc_s|libc|libm|libpthread|ld-linux[a-z0-9_-]*)\\.so.*");
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, library)) continue;
#if !defined(LEVER_SANITIZED)
    EXPECT_TRUE(std::regex_match(match[1].str(), usual)) << match[1];
#endif
  }
}

#if defined(LEVER_HOST_LIBRARY)
TEST(SymbolsTest, LibleverHostExportsBothHeadersAndNothingElse) {
  ExpectExactly(LEVER_HOST_LIBRARY, {"lever.h", "policy.h", "host.h"});
}
#endif

}  // namespace
