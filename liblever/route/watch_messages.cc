#include "liblever/route/watch_messages.h"

#include <exception>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <utility>

#include "liblever/policy/shard.h"
#include "liblever/route/pbf.h"
#include "liblever/route/wire.h"

namespace lever::route {
namespace {

using protozero::pbf_reader;
using protozero::pbf_writer;

enum FromWatcherField : uint32_t {
  kHello = 1,
  kSubscribe = 2,
  kUnsubscribe = 3,
  kIntroduce = 4,
};
enum ToWatcherField : uint32_t { kWelcome = 1, kRoutes = 2, kIntroduced = 3 };
enum IntroductionField : uint32_t { kNonce = 1, kOutgoing = 2, kIncoming = 3, kFailed = 4 };

std::string WriteServiceName(FromWatcherField field, std::string_view environment,
                             std::string_view service) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, field);
  inner.add_string(1, environment.data(), environment.size());
  inner.add_string(2, service.data(), service.size());
  inner.commit();
  return message;
}

// A lever_status from a host; a number outside the list is UNKNOWN.
lever_status StatusCode(int32_t number) { return StatusFromGrpc(number); }

WatcherWelcome ReadWelcome(pbf_reader reader) {
  WatcherWelcome welcome;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): welcome.protocol = reader.get_uint32(); break;
      case BytesField(2): welcome.host = reader.get_string(); break;
      case BytesField(3): welcome.introduction_path = reader.get_string(); break;
      case BytesField(4): welcome.nonce = reader.get_bytes(); break;
      default: reader.skip();
    }
  }
  return welcome;
}

InstanceRoute ReadInstance(pbf_reader reader) {
  InstanceRoute instance;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case BytesField(1): instance.id = reader.get_string(); break;
      case VarintField(2): instance.version = reader.get_uint64(); break;
      case VarintField(3): instance.local = reader.get_uint64() != 0; break;
      case VarintField(4): instance.in_flight = reader.get_uint32(); break;
      case VarintField(5): instance.latency_ns = reader.get_uint64(); break;
      case VarintField(6): instance.load_max = reader.get_uint32(); break;
      case VarintField(7): instance.concurrency_max = reader.get_uint32(); break;
      case VarintField(8): instance.listens = reader.get_uint64() != 0; break;
      default: reader.skip();
    }
  }
  return instance;
}

// Two packed lists of the same length; what is not that is not understood, and calls go through the
// host. Of more than there may be one too many is read, so that it is not understood either.
std::vector<ShardRoute> ReadShards(pbf_reader reader) {
  std::vector<ShardRoute> shards;
  std::vector<uint64_t> generations;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case BytesField(1):
        for (const uint32_t owner : reader.get_packed_uint32()) {
          if (shards.size() <= policy::kShardsMax) shards.push_back({.owner = owner});
        }
        break;
      case BytesField(2):
        for (const uint64_t generation : reader.get_packed_uint64()) {
          if (generations.size() <= policy::kShardsMax) generations.push_back(generation);
        }
        break;
      default: reader.skip();
    }
  }
  if (generations.size() != shards.size() || !policy::IsShardCount(shards.size())) return {};
  for (size_t i = 0; i < shards.size(); ++i) shards[i].generation = generations[i];
  return shards;
}

Routes ReadRoutes(pbf_reader reader) {
  Routes routes;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case BytesField(1): routes.environment = reader.get_string(); break;
      case BytesField(2): routes.service = reader.get_string(); break;
      case VarintField(3): routes.revision = reader.get_uint64(); break;
      case BytesField(4): {
        InstanceRoute instance = ReadInstance(reader.get_message());
        if (routes.instances.size() < kInstancesPerServiceMax && !instance.id.empty()) {
          routes.instances.push_back(std::move(instance));
        }
        break;
      }
      case BytesField(5): routes.shards = ReadShards(reader.get_message()); break;
      case VarintField(6): routes.canary_version = reader.get_uint64(); break;
      case VarintField(7): routes.canary_share = reader.get_uint32(); break;
      default: reader.skip();
    }
  }
  return routes;
}

Introduced ReadIntroduced(pbf_reader reader) {
  Introduced introduced;
  int32_t code = 0;
  std::string text;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): introduced.id = reader.get_uint64(); break;
      case VarintField(2): code = reader.get_int32(); break;
      case BytesField(3): text = reader.get_string(); break;
      case BytesField(4): introduced.way.address = reader.get_string(); break;
      case BytesField(5): introduced.way.key_hash = reader.get_bytes(); break;
      case BytesField(6): introduced.way.token = reader.get_string(); break;
      default: reader.skip();
    }
  }
  if (code != LEVER_OK) introduced.status = Status(StatusCode(code), std::move(text));
  return introduced;
}

Introduction ReadIntroduction(pbf_reader reader, Introduction::Direction direction) {
  Introduction introduction;
  introduction.direction = direction;
  const bool incoming = direction == Introduction::Direction::kIncoming;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): introduction.id = reader.get_uint64(); break;
      case BytesField(2):
        (incoming ? introduction.caller : introduction.instance) = reader.get_string();
        break;
      case VarintField(3):
        if (incoming) {
          introduction.host = reader.get_uint64() != 0;
          break;
        }
        [[fallthrough]];
      default: reader.skip();
    }
  }
  return introduction;
}

// protozero reports broken input by exceptions, which end here.
template <typename Read>
Status Guarded(const char* what, Read read) {
  try {
    read();
    return Status::Ok();
  } catch (const std::exception& error) {
    return InvalidArgument(std::string("not a ") + what + ": " + error.what());
  }
}

}  // namespace

std::string WriteWatcherHello(uint64_t pid, std::string_view runtime) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kHello);
  inner.add_uint32(1, kSessionProtocol);
  inner.add_uint32(2, kSessionProtocol);
  inner.add_uint64(3, pid);
  inner.add_string(4, runtime.data(), runtime.size());
  inner.commit();
  return message;
}

std::string WriteSubscribe(std::string_view environment, std::string_view service) {
  return WriteServiceName(kSubscribe, environment, service);
}

std::string WriteUnsubscribe(std::string_view environment, std::string_view service) {
  return WriteServiceName(kUnsubscribe, environment, service);
}

std::string WriteIntroduce(uint64_t id, std::string_view instance, IntroduceBy by) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kIntroduce);
  inner.add_uint64(1, id);
  inner.add_string(2, instance.data(), instance.size());
  if (by == IntroduceBy::kAddress) inner.add_bool(3, true);
  inner.commit();
  return message;
}

StatusOr<ToWatcher> ParseToWatcher(std::string_view message) {
  ToWatcher parsed;
  LEVER_RETURN_IF_ERROR(Guarded("lever.v1.ToWatcher", [&] {
    pbf_reader reader(message.data(), message.size());
    while (reader.next()) {
      switch (reader.tag_and_type()) {
        case BytesField(kWelcome): parsed = ReadWelcome(reader.get_message()); break;
        case BytesField(kRoutes): parsed = ReadRoutes(reader.get_message()); break;
        case BytesField(kIntroduced): parsed = ReadIntroduced(reader.get_message()); break;
        default: reader.skip();
      }
    }
  }));
  return parsed;
}

std::string WriteNonce(std::string_view nonce) {
  std::string packet;
  pbf_writer(packet).add_bytes(kNonce, nonce.data(), nonce.size());
  return packet;
}

std::string WriteFailed(uint64_t id) {
  std::string packet;
  pbf_writer(packet).add_uint64(kFailed, id);
  return packet;
}

StatusOr<Introduction> ParseIntroduction(std::string_view packet) {
  Introduction introduction;
  LEVER_RETURN_IF_ERROR(Guarded("lever.v1.Introduction", [&] {
    pbf_reader reader(packet.data(), packet.size());
    while (reader.next()) {
      switch (reader.tag_and_type()) {
        case BytesField(kOutgoing):
          introduction =
              ReadIntroduction(reader.get_message(), Introduction::Direction::kOutgoing);
          break;
        case BytesField(kIncoming):
          introduction =
              ReadIntroduction(reader.get_message(), Introduction::Direction::kIncoming);
          break;
        default: reader.skip();
      }
    }
  }));
  if (introduction.id == 0) return InvalidArgument("an introduction without an id");
  return introduction;
}

uint64_t IntroductionIdOf(std::string_view buffer) {
  uint64_t id = 0;
  const Status status = Guarded("lever.v1.Introduction", [&] {
    pbf_reader outer(buffer.data(), buffer.size());
    if (!outer.next()) return;
    const uint32_t packet = outer.tag_and_type();
    if (packet != BytesField(kOutgoing) && packet != BytesField(kIncoming)) return;
    pbf_reader inner = outer.get_message();
    while (inner.next()) {
      if (inner.tag_and_type() == VarintField(1)) {
        id = inner.get_uint64();
        return;
      }
      inner.skip();
    }
  });
  return status.ok() ? id : 0;
}

}  // namespace lever::route
