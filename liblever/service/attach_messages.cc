#include "liblever/service/attach_messages.h"

#include <algorithm>
#include <exception>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "liblever/route/pbf.h"
#include "liblever/route/wire.h"

namespace lever::service {
namespace {

using protozero::pbf_reader;
using protozero::pbf_writer;
using route::BytesField;
using route::VarintField;

enum FromInstanceField : uint32_t {
  kHello = 1,
  kReady = 2,
  kLoad = 3,
  kDraining = 4,
  kDrained = 5,
  kShardLoads = 9,
};
enum ToInstanceField : uint32_t {
  kWelcome = 1,
  kDrain = 2,
  kServing = 3,
  kShards = 4,
  kRenewed = 5,
  kState = 6,
};

// One whose key has another length is none.
void ReadTokenKey(pbf_reader reader, std::vector<route::TokenKey>* keys) {
  route::TokenKey key;
  std::string bytes;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case BytesField(1): key.id = reader.get_string(); break;
      case BytesField(2): bytes = reader.get_bytes(); break;
      default: reader.skip();
    }
  }
  if (bytes.size() != key.public_key.size() || keys->size() >= route::kTokenKeysMax) return;
  std::copy(bytes.begin(), bytes.end(), key.public_key.begin());
  keys->push_back(std::move(key));
}

InstanceWelcome ReadWelcome(pbf_reader reader) {
  InstanceWelcome welcome;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): welcome.protocol = reader.get_uint32(); break;
      case BytesField(2): welcome.environment = reader.get_string(); break;
      case BytesField(3): welcome.service = reader.get_string(); break;
      case VarintField(4): welcome.version = reader.get_uint64(); break;
      case BytesField(5): welcome.instance = reader.get_string(); break;
      case BytesField(6): welcome.config_json = reader.get_bytes(); break;
      case VarintField(7): welcome.drain_timeout_ns = reader.get_uint64(); break;
      case BytesField(8): welcome.introduction_path = reader.get_string(); break;
      case BytesField(9): welcome.nonce = reader.get_bytes(); break;
      case VarintField(10): welcome.load_interval_ns = reader.get_uint64(); break;
      case VarintField(11): welcome.concurrency_max = reader.get_uint32(); break;
      case BytesField(12): welcome.secrets_json = reader.get_bytes(); break;
      case VarintField(13): welcome.shards = reader.get_uint32(); break;
      case BytesField(14): ReadTokenKey(reader.get_message(), &welcome.token_keys); break;
      default: reader.skip();
    }
  }
  return welcome;
}

DrainRequest ReadDrain(pbf_reader reader) {
  DrainRequest drain;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): drain.timeout_ns = reader.get_uint64(); break;
      case BytesField(2): drain.reason = reader.get_string(); break;
      default: reader.skip();
    }
  }
  return drain;
}

// A message whose arm has no fields set.
std::string WriteEmpty(FromInstanceField field) {
  std::string message;
  pbf_writer(message).add_message(field, "", 0);
  return message;
}

}  // namespace

std::string WriteHello(const InstanceHello& hello) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kHello);
  inner.add_uint32(1, route::kSessionProtocol);
  inner.add_uint32(2, route::kSessionProtocol);
  if (!hello.environment.empty()) inner.add_string(3, hello.environment);
  if (!hello.service.empty()) inner.add_string(4, hello.service);
  inner.add_uint64(5, hello.pid);
  inner.add_string(6, hello.runtime);
  if (!hello.listen.empty()) inner.add_string(7, hello.listen);
  for (const std::string& method : hello.methods) inner.add_string(8, method);
  inner.add_uint32(9, hello.concurrency_max);
  for (const std::string& method : hello.resource_methods) inner.add_string(10, method);
  if (!hello.listen_key_hash.empty()) inner.add_bytes(11, hello.listen_key_hash);
  if (hello.is_private) inner.add_bool(12, true);
  inner.commit();
  return message;
}

std::string WriteReady() { return WriteEmpty(kReady); }

std::string WriteLoad(const LoadReport& report) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kLoad);
  inner.add_uint32(1, report.calls);
  inner.add_uint32(2, report.streams);
  inner.add_uint64(3, report.calls_total);
  inner.add_uint64(4, report.latency_ns);
  inner.add_uint64(5, report.last_active_ns);
  inner.add_uint64(6, report.ended_total);
  inner.add_uint64(7, report.errors_total);
  inner.commit();
  return message;
}

std::string WriteShardLoads(const ShardLoadsReport& report) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kShardLoads);
  inner.add_uint64(1, report.window_ns);
  for (const ShardLoad& load : report.loads) {
    pbf_writer row(inner, 2);
    row.add_uint32(1, load.shard);
    if (load.calls_milli > 0) row.add_uint32(2, load.calls_milli);
    if (load.streams > 0) row.add_uint32(3, load.streams);
    row.commit();
  }
  inner.commit();
  return message;
}

std::string WriteDraining() { return WriteEmpty(kDraining); }

std::string WriteDrained(uint32_t cut_off) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kDrained);
  inner.add_uint32(1, cut_off);
  inner.commit();
  return message;
}

Status ParseToInstance(std::string_view message, ToInstance* parsed) {
  try {
    pbf_reader reader(message.data(), message.size());
    while (reader.next()) {
      switch (reader.tag_and_type()) {
        case BytesField(kWelcome): *parsed = ReadWelcome(reader.get_message()); break;
        case BytesField(kDrain): *parsed = ReadDrain(reader.get_message()); break;
        case BytesField(kServing):
          reader.skip();
          *parsed = Serving();
          break;
        case BytesField(kShards): *parsed = ReadShardOrders(reader.get_message()); break;
        case BytesField(kRenewed): *parsed = ReadGrantRenewed(reader.get_message()); break;
        case BytesField(kState): *parsed = ReadStateAnswer(reader.get_message()); break;
        default: reader.skip();
      }
    }
    return Status::Ok();
  } catch (const std::exception& error) {
    return InvalidArgument(std::string("not a lever.v1.ToInstance: ") + error.what());
  }
}

}  // namespace lever::service
