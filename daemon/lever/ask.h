// What the commands have in common that ask the host one thing and print the answer.
#ifndef DAEMON_LEVER_ASK_H_
#define DAEMON_LEVER_ASK_H_

#include <google/protobuf/message.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "daemon/lever/command.h"
#include "liblever/base/status.h"

namespace lever::cli {

// How long a new version may take to be ready: longer than the longest startTimeout (600 s).
inline constexpr int64_t kNewVersionTimeoutNs = 660'000'000'000;

// Connects, and calls a unary method of the host. 0: the library's own timeout.
Status AskHost(const Globals& globals, std::string_view path,
               const google::protobuf::Message& request, google::protobuf::Message* reply,
               int64_t timeout_ns = 0);
Status PrintJson(const nlohmann::json& value);
std::string AddressOf(const std::string& environment, const std::string& service);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_ASK_H_
