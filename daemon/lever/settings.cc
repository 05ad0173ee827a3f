// lever config set|get|list|unset, lever secret set|list|unset
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "daemon/lever/ask.h"
#include "daemon/lever/command.h"
#include "daemon/lever/output.h"
#include "lever/v1/admin.pb.h"

namespace lever::cli {
namespace {

using nlohmann::json;

// The host's own limit, so that an endless input ends.
constexpr size_t kSecretBytesMax = 64 * 1024;

Status ReadSettings(const Globals& globals, const std::string& service,
                    lever::v1::ListSettingsReply* reply) {
  lever::v1::ListSettingsRequest request;
  request.set_environment(globals.environment);
  request.set_service(service);
  return AskHost(globals, "/lever.v1.Admin/ListSettings", request, reply);
}

int Change(const Globals& globals, const std::string& service,
           lever::v1::ChangeSettingsRequest request) {
  request.set_environment(globals.environment);
  request.set_service(service);
  lever::v1::ChangeSettingsReply reply;
  const Status status =
      AskHost(globals, "/lever.v1.Admin/ChangeSettings", request, &reply, kNewVersionTimeoutNs);
  if (!status.ok()) return Report(globals, status);
  const std::string address = AddressOf(globals.environment, service);
  if (globals.format == Format::kJson) {
    return Report(globals, PrintJson({{"service", address},
                                      {"version", reply.version()},
                                      {"unchanged", reply.unchanged()}}));
  }
  return Report(globals, Print(address + " version " + std::to_string(reply.version()) +
                               (reply.unchanged() ? " (unchanged)\n" : "\n")));
}

// JSON as it is, and anything else as a text.
std::string ValueJson(const std::string& text) {
  return json::accept(text) ? text
                            : json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

// While it lives, the terminal does not show what is typed, and keys come one by one: a signal of
// Ctrl-C would leave it mute.
class EchoOff {
 public:
  EchoOff() {
    if (::tcgetattr(STDIN_FILENO, &before_) != 0) return;
    struct termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO | ISIG | ICANON);
    quiet.c_cc[VMIN] = 1;
    quiet.c_cc[VTIME] = 0;
    off_ = ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet) == 0;
  }
  ~EchoOff() {
    if (off_) ::tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  EchoOff(const EchoOff&) = delete;
  EchoOff& operator=(const EchoOff&) = delete;
  bool off() const { return off_; }

 private:
  struct termios before_ = {};
  bool off_ = false;
};

// A line of what is typed.
StatusOr<std::string> ReadKeys() {
  constexpr char kCtrlC = 3, kCtrlD = 4, kBackspace = 8, kCtrlU = 21, kDelete = 127;
  std::string text;
  while (text.size() <= kSecretBytesMax) {
    char key = 0;
    const ssize_t count = ::read(STDIN_FILENO, &key, 1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "standard input");
    if (count == 0 || key == '\n' || key == '\r' || key == kCtrlD) return text;
    if (key == kCtrlC) return Cancelled("interrupted");
    if (key == kCtrlU) text.clear();
    if (key == kBackspace || key == kDelete) {
      // The whole character.
      while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) {
        text.pop_back();
      }
      if (!text.empty()) text.pop_back();
    } else if (key != kCtrlU) {
      text += key;
    }
  }
  return InvalidArgument("the secret is larger than 64 KiB");
}

StatusOr<std::string> ReadInput() {
  std::string text;
  char piece[4096];
  while (true) {
    const ssize_t count = ::read(STDIN_FILENO, piece, sizeof(piece));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "standard input");
    text.append(piece, static_cast<size_t>(count));
    if (text.size() > kSecretBytesMax) return InvalidArgument("the secret is larger than 64 KiB");
    if (count == 0) break;
  }
  // What an editor and echo end a text with is no part of it.
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

StatusOr<std::string> AskForSecret(const std::string& name) {
  if (::isatty(STDIN_FILENO) == 0) return ReadInput();
  const EchoOff echo_off;
  if (!echo_off.off()) return FailedPrecondition("the terminal would show the secret: pipe it in");
  const std::string prompt = Plain(name) + ": ";
  LEVER_RETURN_IF_ERROR(WriteAll(STDERR_FILENO, prompt));
  StatusOr<std::string> secret = ReadKeys();
  LEVER_RETURN_IF_ERROR(WriteAll(STDERR_FILENO, "\n"));
  return secret;
}

}  // namespace

int SetConfig(const Globals& globals, const SettingsArguments& arguments) {
  lever::v1::ChangeSettingsRequest request;
  for (const std::string& pair : arguments.names) {
    const size_t sign = pair.find('=');
    if (sign == pair.npos || sign == 0) {
      return Report(globals, InvalidArgument("not KEY=VALUE: " + pair));
    }
    (*request.mutable_config_json())[pair.substr(0, sign)] = ValueJson(pair.substr(sign + 1));
  }
  return Change(globals, arguments.service, std::move(request));
}

int UnsetConfig(const Globals& globals, const SettingsArguments& arguments) {
  lever::v1::ChangeSettingsRequest request;
  for (const std::string& name : arguments.names) request.add_config_unset(name);
  return Change(globals, arguments.service, std::move(request));
}

int GetConfig(const Globals& globals, const SettingsArguments& arguments) {
  lever::v1::ListSettingsReply reply;
  const Status status = ReadSettings(globals, arguments.service, &reply);
  if (!status.ok()) return Report(globals, status);
  const json config = json::parse(reply.config_json(), nullptr, /*allow_exceptions=*/false);
  const std::string& name = arguments.names.front();
  if (!config.is_object() || !config.contains(name)) {
    return Report(globals, NotFound(AddressOf(globals.environment, arguments.service) +
                                    " has no configuration of that name: " + name));
  }
  return Report(globals,
                Print(config[name].dump(-1, ' ', false, json::error_handler_t::replace) + "\n"));
}

int ListConfig(const Globals& globals, const SettingsArguments& arguments) {
  lever::v1::ListSettingsReply reply;
  const Status status = ReadSettings(globals, arguments.service, &reply);
  if (!status.ok()) return Report(globals, status);
  const json config = json::parse(reply.config_json(), nullptr, /*allow_exceptions=*/false);
  if (globals.format == Format::kJson || !config.is_object()) {
    return Report(globals, config.is_null() ? Print("null\n") : PrintJson(config));
  }
  const auto& set = reply.config_set();
  std::vector<std::vector<std::string>> rows = {{"KEY", "FROM", "VALUE"}};
  for (const auto& [name, value] : config.items()) {
    const bool laid_over = std::find(set.begin(), set.end(), name) != set.end();
    rows.push_back({Plain(name), laid_over ? "config set" : "lever.json",
                    Plain(value.dump(-1, ' ', false, json::error_handler_t::replace))});
  }
  return Report(globals, Print(Table(rows)));
}

int SetSecret(const Globals& globals, const SettingsArguments& arguments) {
  StatusOr<std::string> secret = AskForSecret(arguments.names.front());
  if (!secret.ok()) return Report(globals, secret.status());
  lever::v1::ChangeSettingsRequest request;
  (*request.mutable_secrets())[arguments.names.front()] = std::move(*secret);
  return Change(globals, arguments.service, std::move(request));
}

int UnsetSecret(const Globals& globals, const SettingsArguments& arguments) {
  lever::v1::ChangeSettingsRequest request;
  for (const std::string& name : arguments.names) request.add_secrets_unset(name);
  return Change(globals, arguments.service, std::move(request));
}

int ListSecrets(const Globals& globals, const SettingsArguments& arguments) {
  lever::v1::ListSettingsReply reply;
  const Status status = ReadSettings(globals, arguments.service, &reply);
  if (!status.ok()) return Report(globals, status);
  if (globals.format == Format::kJson) {
    json names = json::array();
    for (const std::string& name : reply.secrets()) names.push_back(name);
    return Report(globals, PrintJson(names));
  }
  std::string text;
  for (const std::string& name : reply.secrets()) text += Plain(name) + "\n";
  return Report(globals, Print(text));
}

}  // namespace lever::cli
