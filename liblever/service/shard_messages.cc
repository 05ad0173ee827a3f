#include "liblever/service/shard_messages.h"

#include <protozero/pbf_writer.hpp>
#include <utility>

#include "liblever/route/pbf.h"

namespace lever::service {
namespace {

using protozero::pbf_reader;
using protozero::pbf_writer;
using route::BytesField;
using route::VarintField;

enum FromInstanceField : uint32_t { kRenew = 6, kReleased = 7, kState = 8 };

ShardOrder ReadShardOrder(pbf_reader reader) {
  ShardOrder order;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): {
        const uint64_t kind = reader.get_uint64();
        if (kind <= static_cast<uint64_t>(ShardOrder::Kind::kRelease)) {
          order.kind = static_cast<ShardOrder::Kind>(kind);
        }
        break;
      }
      case VarintField(2): order.shard = reader.get_uint32(); break;
      case VarintField(3): order.generation = reader.get_uint64(); break;
      case BytesField(4): order.next = reader.get_string(); break;
      case VarintField(5): order.next_generation = reader.get_uint64(); break;
      case VarintField(6): {
        const uint64_t reason = reader.get_uint64();
        if (reason <= static_cast<uint64_t>(CloseReason::kLost)) {
          order.reason = static_cast<CloseReason>(reason);
        }
        break;
      }
      default: reader.skip();
    }
  }
  return order;
}

}  // namespace

ShardOrders ReadShardOrders(pbf_reader reader) {
  ShardOrders orders;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case BytesField(1): orders.orders.push_back(ReadShardOrder(reader.get_message())); break;
      case VarintField(2): orders.synced = reader.get_uint64() != 0; break;
      case VarintField(3): orders.begins = reader.get_uint64() != 0; break;
      default: reader.skip();
    }
  }
  return orders;
}

GrantRenewed ReadGrantRenewed(pbf_reader reader) {
  GrantRenewed renewed;
  while (reader.next()) {
    if (reader.tag_and_type() == VarintField(1)) {
      renewed.id = reader.get_uint64();
    } else {
      reader.skip();
    }
  }
  return renewed;
}

StateAnswer ReadStateAnswer(pbf_reader reader) {
  StateAnswer answer;
  int32_t code = LEVER_OK;
  std::string text;
  while (reader.next()) {
    switch (reader.tag_and_type()) {
      case VarintField(1): answer.id = reader.get_uint64(); break;
      case VarintField(2): code = reader.get_int32(); break;
      case BytesField(3): text = reader.get_string(); break;
      case VarintField(4): {
        const uint64_t origin = reader.get_uint64();
        if (origin <= static_cast<uint64_t>(Origin::kLost)) {
          answer.origin = static_cast<Origin>(origin);
        }
        break;
      }
      case VarintField(5): {
        const uint64_t kind = reader.get_uint64();
        if (kind == static_cast<uint64_t>(route::Kind::kValue) ||
            kind == static_cast<uint64_t>(route::Kind::kRaw)) {
          answer.kind = static_cast<route::Kind>(kind);
        }
        break;
      }
      case BytesField(6): answer.payload = reader.get_bytes(); break;
      default: reader.skip();
    }
  }
  if (code != LEVER_OK) answer.status = Status(StatusFromGrpc(code), std::move(text));
  return answer;
}

std::string WriteRenewGrant(uint64_t id) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kRenew);
  inner.add_uint64(1, id);
  inner.commit();
  return message;
}

std::string WriteShardReleased(uint32_t shard, uint64_t generation, bool clean) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kReleased);
  inner.add_uint32(1, shard);
  inner.add_uint64(2, generation);
  inner.add_bool(3, clean);
  inner.commit();
  return message;
}

std::string WriteStateRequest(const StateRequest& request) {
  std::string message;
  pbf_writer outer(message);
  pbf_writer inner(outer, kState);
  inner.add_uint64(1, request.id);
  inner.add_enum(2, static_cast<int32_t>(request.kind));
  inner.add_uint32(3, request.shard);
  inner.add_uint64(4, request.generation);
  inner.add_string(5, request.resource.data(), request.resource.size());
  if (request.payload != nullptr) {
    inner.add_uint32(6, static_cast<uint32_t>(request.payload_kind));
    const Slice bytes = Flatten(*request.payload);
    inner.add_bytes(7, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  inner.commit();
  return message;
}

}  // namespace lever::service
