// The `lever` program itself where no host answers: usage, exit codes, what it says.
#include "tests/cli/process.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "liblever/base/fd.h"

namespace lever::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

ProcessResult Lever(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
  arguments.insert(arguments.begin(), LEVER_CLI);
  return lever::testing::Run(
      {.argv = std::move(arguments), .environment = std::move(environment), .input = ""});
}

// A bound TCP port. Nobody listens on it, unless it is told to: then connections are made, and
// nothing is ever answered.
class Port {
 public:
  explicit Port(bool listens) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    if (listens) {
      EXPECT_EQ(::listen(socket_.get(), 16), 0);
    }
    port_ = ntohs(address.sin_port);
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Until a client has connected and said something. One that hangs up at once was only looking
  // whether somebody listens.
  void AwaitClient() {
    while (true) {
      pollfd watched{socket_.get(), POLLIN, 0};
      ASSERT_EQ(::poll(&watched, 1, 30'000), 1);
      client_ = UniqueFd(::accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      watched = {client_.get(), POLLIN, 0};
      ASSERT_EQ(::poll(&watched, 1, 30'000), 1);
      char byte;
      if (::recv(client_.get(), &byte, 1, MSG_PEEK) == 1) return;
    }
  }
  // With that the connection is ready for HTTP/2, and calls are sent.
  void SendSettings() {
    static constexpr char kSettings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    ASSERT_EQ(::send(client_.get(), kSettings, sizeof(kSettings), MSG_NOSIGNAL), 9);
  }

 private:
  UniqueFd socket_;
  UniqueFd client_;
  int port_ = 0;
};

class CliProcessTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "lever-cli-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void WriteFile(const std::string& name, const std::string& text) const {
    std::ofstream(directory_ + "/" + name) << text;
  }

  std::string directory_;
};

TEST_F(CliProcessTest, HelpAndVersionNeedNoHost) {
  const ProcessResult help = Lever({"--help"});
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("deploy"), HasSubstr("invoke")));
  EXPECT_EQ(help.err, "");
  const ProcessResult version = Lever({"version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, ::testing::StartsWith("lever 0."));
  const auto json = nlohmann::json::parse(Lever({"version", "--json"}).out);
  EXPECT_EQ("lever " + json.at("version").get<std::string>() + "\n", version.out);
}

TEST_F(CliProcessTest, UsageErrorsAreExitCodeTwoAndOneLineOfStandardError) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"nonsense"},
                                             {"invoke"},
                                             {"invoke", "hello"},
                                             {"invoke", "/hello/sayHello", "Ann"},
                                             {"invoke", "/hello/sayHello", "--timeout", "soon"},
                                             {"invoke", "/hello/sayHello", "1", "--bytes"},
                                             {"--env", "No", "ls"},
                                             {"--host", "nowhere", "ls"},
                                             {"rm"}}) {
    const ProcessResult result = Lever(arguments);
    EXPECT_EQ(result.exit_code, 2) << ::testing::PrintToString(arguments) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, ::testing::StartsWith("lever: "));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }
}

TEST_F(CliProcessTest, TheWrongKindOfMethodIsUnimplementedWithTheRightCommandNamed) {
  ProcessResult result = Lever({"invoke", "/hello/echoChan"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, AllOf(HasSubstr("UNIMPLEMENTED"), HasSubstr("`lever stream`")));
  result = Lever({"stream", "/hello/sayHello"});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, AllOf(HasSubstr("UNIMPLEMENTED"), HasSubstr("`lever invoke`")));
}

TEST_F(CliProcessTest, WithoutAHostItSaysSoAndExitsWithFour) {
  const Port port(false);
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{"ls"},
                                             {"ps"},
                                             {"logs"},
                                             {"rm", "hello"},
                                             {"invoke", "/hello/sayHello"},
                                             {"stream", "/hello/echoChan"}}) {
    const ProcessResult result = Lever(arguments, {"LEVER_HOST=" + port.address()});
    EXPECT_EQ(result.exit_code, 4) << ::testing::PrintToString(arguments) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err,
                AllOf(::testing::StartsWith("lever: UNAVAILABLE: "), HasSubstr(port.address()),
                      HasSubstr("refused"), HasSubstr("leverd"), HasSubstr("LEVER_HOST")));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  }
  const ProcessResult json =
      Lever({"--host", port.address(), "--json", "invoke", "/hello/sayHello"});
  EXPECT_EQ(json.exit_code, 4);
  const auto error = nlohmann::json::parse(json.err).at("error");
  EXPECT_EQ(error.at("code"), "UNAVAILABLE");
  EXPECT_EQ(error.at("executed"), "no");
}

TEST_F(CliProcessTest, AHostMayBeAUnixSocket) {
  const std::string host = "unix:" + directory_ + "/no.sock";
  const ProcessResult result = Lever({"ls"}, {"LEVER_HOST=" + host});
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_THAT(result.err, AllOf(HasSubstr(host), HasSubstr("leverd")));
}

TEST_F(CliProcessTest, AHostThatNeverSpeaksIsUnavailableWhenTheDeadlinePasses) {
  const Port silent(true);
  const ProcessResult result =
      Lever({"--host", silent.address(), "invoke", "/hello/sayHello", "--timeout", "50ms"});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr(silent.address()), HasSubstr("within the deadline")));
}

TEST_F(CliProcessTest, ADeadlineThatPassesIsExitCodeFive) {
  Port port(true);
  Process process({.argv = {LEVER_CLI, "--host", port.address(), "invoke", "/hello/sayHello",
                            "--timeout", "1s"},
                   .environment = {},
                   .input = ""});
  port.AwaitClient();
  port.SendSettings();
  const ProcessResult result = process.Wait();
  EXPECT_EQ(result.exit_code, 5) << result.err;
  EXPECT_THAT(result.err, HasSubstr("DEADLINE_EXCEEDED"));
}

TEST_F(CliProcessTest, WithoutAStandardInputAStreamHasNoMessages) {
  Port port(true);
  Process process({.argv = {LEVER_CLI, "--host", port.address(), "stream", "/hello/echoChan",
                            "--timeout", "1s"},
                   .environment = {},
                   .input = "",
                   .closed_input = true});
  port.AwaitClient();
  port.SendSettings();
  const ProcessResult result = process.Wait();
  EXPECT_EQ(result.exit_code, 5) << result.err;
}

TEST_F(CliProcessTest, CtrlCIsExitCode130) {
  for (const std::vector<std::string>& call : std::vector<std::vector<std::string>>{
           {"invoke", "/hello/sayHello"}, {"stream", "/hello/echoChan"}, {"logs", "-f"}, {"ls"}}) {
    Port silent(true);
    std::vector<std::string> argv = {LEVER_CLI, "--host", silent.address()};
    argv.insert(argv.end(), call.begin(), call.end());
    Process process({.argv = argv, .environment = {}, .input = "1\n"});
    silent.AwaitClient();
    process.Signal(SIGINT);
    const ProcessResult result = process.Wait();
    EXPECT_EQ(result.exit_code, 130) << ::testing::PrintToString(call) << result.err;
    EXPECT_EQ(result.signal, 0);
  }
}

TEST_F(CliProcessTest, ALineOfInputThatIsNoJsonIsNamedByItsNumber) {
  Port silent(true);
  const ProcessResult result = lever::testing::Run(
      {.argv = {LEVER_CLI, "--host", silent.address(), "stream", "/hello/echoChan"},
       .environment = {},
       .input = "1\n\n{\"a\":1}\noops\n"});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("line 4 of the input"));
}

TEST_F(CliProcessTest, DeployNamesWhatIsWrongWithTheDirectory) {
  ProcessResult result = Lever({"deploy", directory_});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, AllOf(HasSubstr(directory_), HasSubstr("lever.json")));

  WriteFile("lever.json", R"({"name": "hello", "jsEntri": "service.js"})");
  result = Lever({"deploy", directory_});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, AllOf(HasSubstr("jsEntri"), HasSubstr("jsEntry")));

  WriteFile("lever.json", R"({"name": "hello", "jsEntry": "service.js",)"
                          R"( "build": ["sh", "-c", "echo building; exit 9"]})");
  result = Lever({"deploy", directory_});
  EXPECT_EQ(result.exit_code, 6);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err,
              AllOf(HasSubstr("build: sh -c"), HasSubstr("building\n"), HasSubstr("exit code 9")));
}

TEST_F(CliProcessTest, TheBuildRunsInTheDirectoryBeforeTheHostIsAsked) {
  const Port port(false);
  WriteFile("lever.json",
            R"({"name": "hello", "jsEntry": "made.js", "build": ["sh", "-c", "echo > made.js"]})");
  const ProcessResult result = Lever({"--host", port.address(), "deploy", directory_});
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_THAT(result.err, HasSubstr("leverd"));
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/made.js"));
}

}  // namespace
}  // namespace lever::testing
