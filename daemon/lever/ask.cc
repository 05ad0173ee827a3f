#include "daemon/lever/ask.h"

#include <memory>

#include "daemon/lever/connection.h"
#include "daemon/lever/output.h"

namespace lever::cli {

Status AskHost(const Globals& globals, std::string_view path,
               const google::protobuf::Message& request, google::protobuf::Message* reply,
               int64_t timeout_ns) {
  LEVER_ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection, Connection::Open(globals));
  return connection->CallHost(path, request, reply, timeout_ns);
}

Status PrintJson(const nlohmann::json& value) {
  return Print(value.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

std::string AddressOf(const std::string& environment, const std::string& service) {
  return "lever://" + environment + "/" + service;
}

}  // namespace lever::cli
