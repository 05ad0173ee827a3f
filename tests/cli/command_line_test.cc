#include "daemon/lever/command_line.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>
#include <vector>

namespace lever::cli {
namespace {

class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    ::unsetenv("LEVER_HOST");
    ::unsetenv("LEVER_ENV");
  }
  ~CommandLineTest() override {
    ::unsetenv("LEVER_HOST");
    ::unsetenv("LEVER_ENV");
  }

  static CommandLine Parse(std::vector<std::string> arguments) {
    CommandLine line = ParseCommandLine(std::move(arguments));
    EXPECT_FALSE(line.exit_code) << line.text;
    return line;
  }
  static std::string Refused(std::vector<std::string> arguments) {
    const CommandLine line = ParseCommandLine(std::move(arguments));
    EXPECT_EQ(line.exit_code, 2);
    EXPECT_EQ(line.text.find("lever: "), 0u) << line.text;
    EXPECT_EQ(line.text.find('\n'), line.text.size() - 1) << "not one line: " << line.text;
    return line.text;
  }
};

TEST_F(CommandLineTest, DefaultsAreTheLocalHostAndTheDefaultEnvironment) {
  const CommandLine line = Parse({"ls"});
  EXPECT_EQ(line.command, Command::kListServices);
  EXPECT_EQ(line.globals.host, "127.0.0.1:8080");
  EXPECT_EQ(line.globals.environment, "dev.lever");
  EXPECT_EQ(line.globals.format, Format::kPeople);
}

TEST_F(CommandLineTest, FlagsStandBeforeOrBehindTheCommand) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--host", "h:1", "--env", "stage", "--json", "ps", "hello"},
        {"ps", "hello", "--json", "--env=stage", "--host=h:1"},
        {"--json", "ps", "--host", "h:1", "hello", "--env", "stage"}}) {
    const CommandLine line = Parse(arguments);
    EXPECT_EQ(line.command, Command::kListInstances);
    EXPECT_EQ(line.service, "hello");
    EXPECT_EQ(line.globals.host, "h:1");
    EXPECT_EQ(line.globals.environment, "stage");
    EXPECT_EQ(line.globals.format, Format::kJson);
  }
}

TEST_F(CommandLineTest, EnvironmentVariablesAreTakenWhereNoFlagIs) {
  ::setenv("LEVER_HOST", "unix:/run/lever.sock", 1);
  ::setenv("LEVER_ENV", "stage", 1);
  EXPECT_EQ(Parse({"ls"}).globals.host, "unix:/run/lever.sock");
  EXPECT_EQ(Parse({"ls"}).globals.environment, "stage");
  EXPECT_EQ(Parse({"--host", "h:1", "ls"}).globals.host, "h:1");
  EXPECT_EQ(Parse({"ls", "--env", "prod"}).globals.environment, "prod");
}

TEST_F(CommandLineTest, EmptyEnvironmentVariablesAreNone) {
  ::setenv("LEVER_HOST", "", 1);
  ::setenv("LEVER_ENV", "", 1);
  EXPECT_EQ(Parse({"ls"}).globals.host, "127.0.0.1:8080");
  EXPECT_EQ(Parse({"ls"}).globals.environment, "dev.lever");
}

TEST_F(CommandLineTest, DevTakesDirectoriesAndWhereToListen) {
  EXPECT_EQ(Parse({"dev"}).dev.directories, std::vector<std::string>{"."});
  const CommandLine line =
      Parse({"dev", "a", "b", "--listen", "127.0.0.1:0", "--data", "/d", "--upstream", "x.Y=h:1"});
  EXPECT_EQ(line.command, Command::kDev);
  EXPECT_EQ(line.dev.directories, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(line.dev.listen, "127.0.0.1:0");
  EXPECT_EQ(line.dev.data_dir, "/d");
  EXPECT_EQ(line.dev.upstreams, std::vector<std::string>{"x.Y=h:1"});
}

TEST_F(CommandLineTest, InitNeedsADirectoryAndALanguage) {
  const CommandLine line = Parse({"init", "d", "--lang", "cpp", "--name", "x"});
  EXPECT_EQ(line.init.directory, "d");
  EXPECT_EQ(line.init.language, "cpp");
  EXPECT_EQ(line.init.name, "x");
  EXPECT_NE(Refused({"init", "d"}).find("--lang"), std::string::npos);
  EXPECT_NE(Refused({"init", "--lang", "node"}).find("DIR"), std::string::npos);
  EXPECT_NE(Refused({"init", "d", "--lang", "cobol"}).find("cobol"), std::string::npos);
}

TEST_F(CommandLineTest, WhatIsBehindTheDashesIsForTheTestCommand) {
  EXPECT_EQ(Parse({"test"}).test.directory, ".");
  const CommandLine line = Parse({"test", "d", "--", "-k", "name", "--json"});
  EXPECT_EQ(line.test.directory, "d");
  EXPECT_EQ(line.test.extra, (std::vector<std::string>{"-k", "name", "--json"}));
  EXPECT_EQ(line.globals.format, Format::kPeople);
  EXPECT_EQ(Parse({"test", "--", "-v"}).test.directory, ".");
}

// A blank may come before what would look like a flag or a list; JSON allows it.
std::string Trimmed(const std::string& text) {
  const size_t begin = text.find_first_not_of(' ');
  return begin == std::string::npos ? "" : text.substr(begin);
}

TEST_F(CommandLineTest, JsonArgumentsComeThroughAsTheyAre) {
  const std::vector<std::string> json = {"-1",      "-0.5",       "[1,2]",        "{\"a\":[1]}",
                                         "\"Ann\"", "null",       "[]",           "{}",
                                         "-1e3",    "\"--json\"", "[\"a\",\"b\"]"};
  for (const char* command : {"invoke", "stream"}) {
    std::vector<std::string> arguments = {command, "/s/m"};
    arguments.insert(arguments.end(), json.begin(), json.end());
    const CommandLine line = Parse(arguments);
    EXPECT_EQ(line.call.address, "/s/m");
    ASSERT_EQ(line.call.json.size(), json.size());
    for (size_t i = 0; i < json.size(); ++i) EXPECT_EQ(Trimmed(line.call.json[i]), json[i]);
  }
}

TEST_F(CommandLineTest, FlagsOfACallMayStandAnywhereBehindIt) {
  const CommandLine line = Parse({"invoke", "--timeout", "5s", "/s/m", "1", "--json"});
  EXPECT_EQ(line.command, Command::kInvoke);
  EXPECT_EQ(line.call.timeout, "5s");
  EXPECT_EQ(line.call.json, std::vector<std::string>{"1"});
  EXPECT_FALSE(line.call.bytes);
  EXPECT_EQ(line.globals.format, Format::kJson);
  EXPECT_TRUE(Parse({"invoke", "/s/m", "--bytes"}).call.bytes);
}

TEST_F(CommandLineTest, ADirectoryIsNotTakenForJson) {
  EXPECT_EQ(Parse({"deploy"}).deploy.directory, ".");
  EXPECT_EQ(Parse({"deploy", "./[x]"}).deploy.directory, "./[x]");
  EXPECT_EQ(Parse({"deploy", "--canary", "10%", "--sticky"}).deploy.canary, "10%");
  EXPECT_NE(Refused({"deploy", "--sticky"}).find("--canary"), std::string::npos);
  EXPECT_EQ(Parse({"promote", "hello"}).service, "hello");
}

TEST_F(CommandLineTest, LogsTellsNoTailFromATailOfNothing) {
  const CommandLine all = Parse({"logs"});
  EXPECT_EQ(all.logs.service, "");
  EXPECT_FALSE(all.logs.follow);
  EXPECT_EQ(all.logs.tail, std::nullopt);
  const CommandLine line = Parse({"logs", "hello", "-f", "--tail", "0"});
  EXPECT_EQ(line.logs.service, "hello");
  EXPECT_TRUE(line.logs.follow);
  EXPECT_EQ(line.logs.tail, 0u);
}

TEST_F(CommandLineTest, WhatCannotBeRunIsRefusedInOneLine) {
  Refused({});
  EXPECT_NE(Refused({"depoly"}).find("depoly"), std::string::npos);
  EXPECT_NE(Refused({"invoke"}).find("ADDRESS"), std::string::npos);
  EXPECT_NE(Refused({"rm"}).find("SERVICE"), std::string::npos);
  EXPECT_NE(Refused({"ls", "hello"}).find("hello"), std::string::npos);
  EXPECT_NE(Refused({"deploy", "a", "b"}).find("`lever deploy --help`"), std::string::npos);
  Refused({"logs", "--tail", "-1"});
  Refused({"logs", "--tail", "many"});
  Refused({"invoke", "/s/m", "--frobnicate"});
}

TEST_F(CommandLineTest, NamesAreCheckedBeforeAnythingIsDone) {
  EXPECT_NE(Refused({"--env", "Not An Environment", "ls"}).find("environment"), std::string::npos);
  Refused({"ps", "no/such"});
  Refused({"rm", "9"});
  Refused({"logs", "a.b"});
}

TEST_F(CommandLineTest, HelpIsNoError) {
  const CommandLine line = ParseCommandLine({"--help"});
  EXPECT_EQ(line.exit_code, 0);
  for (const char* word : {"deploy", "invoke", "stream", "logs", "ps", "ls", "rm", "version",
                           "--host", "--env", "--json", "LEVER_HOST", "130"}) {
    EXPECT_NE(line.text.find(word), std::string::npos) << word;
  }
  const CommandLine invoke = ParseCommandLine({"invoke", "--help"});
  EXPECT_EQ(invoke.exit_code, 0);
  for (const char* word : {"ADDRESS", "JSON", "--timeout", "--bytes"}) {
    EXPECT_NE(invoke.text.find(word), std::string::npos) << word;
  }
}

}  // namespace
}  // namespace lever::cli
