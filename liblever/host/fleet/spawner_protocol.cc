#include "liblever/host/fleet/spawner_protocol.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace lever::fleet {
namespace {

constexpr size_t kHeaderBytes = 16;

class Encoder {
 public:
  Encoder(SpawnerOp op, uint64_t id) {
    Number(kSpawnerVersion);
    Number(static_cast<uint32_t>(op));
    Number(id);
  }
  template <typename T>
  void Number(T value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void String(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    out_.append(text);
  }
  void Strings(const std::vector<std::string>& list) {
    Number(static_cast<uint32_t>(list.size()));
    for (const std::string& item : list) String(item);
  }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

class Decoder {
 public:
  explicit Decoder(std::string_view packet) : rest_(packet) {
    if (rest_.size() < kHeaderBytes) {
      ok_ = false;
    } else {
      rest_.remove_prefix(kHeaderBytes);
    }
  }
  template <typename T>
  void Number(T* value) {
    if (!ok_ || rest_.size() < sizeof *value) {
      ok_ = false;
      return;
    }
    std::memcpy(value, rest_.data(), sizeof *value);
    rest_.remove_prefix(sizeof *value);
  }
  void String(std::string* text) {
    uint32_t size = 0;
    Number(&size);
    if (!ok_ || size > rest_.size()) {
      ok_ = false;
      return;
    }
    text->assign(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  void Strings(std::vector<std::string>* list) {
    uint32_t count = 0;
    Number(&count);
    if (count > kSpawnerStringsMax) ok_ = false;
    list->clear();
    for (uint32_t i = 0; ok_ && i < count; ++i) String(&list->emplace_back());
  }
  bool Done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace

std::string_view SpawnStageName(SpawnStage stage) {
  switch (stage) {
    case SpawnStage::kMessage:
      return "reading the request";
    case SpawnStage::kDescriptors:
      return "passing descriptors";
    case SpawnStage::kCgroup:
      return "entering its cgroup";
    case SpawnStage::kClone:
      return "clone";
    case SpawnStage::kSession:
      return "making a session";
    case SpawnStage::kLimits:
      return "setting limits";
    case SpawnStage::kUser:
      return "taking on its user id";
    case SpawnStage::kPrivileges:
      return "giving up privileges";
    case SpawnStage::kDirectory:
      return "entering its directory";
    case SpawnStage::kExec:
      return "exec";
    case SpawnStage::kSandbox:
      return "making its sandbox";
    case SpawnStage::kInside:
      return "running inside its sandbox";
  }
  return "an unknown stage";
}

std::string Encode(const HelloMessage& message) {
  Encoder out(SpawnerOp::kHello, 0);
  out.Number(message.use_cgroups);
  out.String(message.cgroup_root);
  out.Number(message.try_sandbox);
  out.Number(message.probe_uid);
  out.String(message.probe_directory);
  out.String(message.pool_directory);
  return out.Take();
}

bool Decode(std::string_view packet, HelloMessage* message) {
  Decoder in(packet);
  in.Number(&message->use_cgroups);
  in.String(&message->cgroup_root);
  in.Number(&message->try_sandbox);
  in.Number(&message->probe_uid);
  in.String(&message->probe_directory);
  in.String(&message->pool_directory);
  return in.Done();
}

std::string Encode(const WelcomeMessage& message) {
  Encoder out(SpawnerOp::kWelcome, 0);
  out.Number(message.pid);
  out.Number(message.limits);
  out.Number(message.sandbox);
  out.Number(message.landlock_abi);
  out.Number(message.tracked);
  out.String(message.sandbox_error);
  out.Number(message.pool);
  out.String(message.pool_error);
  return out.Take();
}

bool Decode(std::string_view packet, WelcomeMessage* message) {
  Decoder in(packet);
  in.Number(&message->pid);
  in.Number(&message->limits);
  in.Number(&message->sandbox);
  in.Number(&message->landlock_abi);
  in.Number(&message->tracked);
  in.String(&message->sandbox_error);
  in.Number(&message->pool);
  in.String(&message->pool_error);
  return in.Done();
}

std::string Encode(uint64_t id, const StartMessage& message) {
  Encoder out(SpawnerOp::kStart, id);
  out.Number(message.uid);
  out.Number(message.gid);
  out.Number(message.switch_user);
  out.Number(message.nofile);
  out.Number(message.oom_score_adj);
  out.Number(message.ram_limit_bytes);
  out.Number(message.cpu_millis);
  out.Number(message.processes_max);
  out.Number(message.sandbox);
  out.Number(message.network);
  out.Strings(message.readable);
  out.String(message.pool_trees);
  out.Number(message.take);
  out.String(message.marker);
  out.String(message.directory);
  out.Strings(message.argv);
  out.Strings(message.variables);
  return out.Take();
}

bool Decode(std::string_view packet, StartMessage* message) {
  Decoder in(packet);
  in.Number(&message->uid);
  in.Number(&message->gid);
  in.Number(&message->switch_user);
  in.Number(&message->nofile);
  in.Number(&message->oom_score_adj);
  in.Number(&message->ram_limit_bytes);
  in.Number(&message->cpu_millis);
  in.Number(&message->processes_max);
  in.Number(&message->sandbox);
  in.Number(&message->network);
  in.Strings(&message->readable);
  in.String(&message->pool_trees);
  in.Number(&message->take);
  in.String(&message->marker);
  in.String(&message->directory);
  in.Strings(&message->argv);
  in.Strings(&message->variables);
  return in.Done();
}

std::string Encode(uint64_t id, const ExitedMessage& message) {
  Encoder out(SpawnerOp::kExited, id);
  out.Number(message.code);
  out.Number(message.signal);
  out.Number(message.ram_limit);
  out.Number(message.process_limit);
  out.Number(message.user_cpu_ns);
  out.Number(message.system_cpu_ns);
  out.Number(message.rss_max_bytes);
  return out.Take();
}

bool Decode(std::string_view packet, ExitedMessage* message) {
  Decoder in(packet);
  in.Number(&message->code);
  in.Number(&message->signal);
  in.Number(&message->ram_limit);
  in.Number(&message->process_limit);
  in.Number(&message->user_cpu_ns);
  in.Number(&message->system_cpu_ns);
  in.Number(&message->rss_max_bytes);
  return in.Done();
}

std::string Encode(uint64_t id, const FailedMessage& message) {
  Encoder out(SpawnerOp::kFailed, id);
  out.Number(static_cast<uint32_t>(message.stage));
  out.Number(message.error);
  return out.Take();
}

bool Decode(std::string_view packet, FailedMessage* message) {
  Decoder in(packet);
  uint32_t stage = 0;
  in.Number(&stage);
  in.Number(&message->error);
  message->stage = static_cast<SpawnStage>(stage);
  return in.Done();
}

std::string EncodeBare(SpawnerOp op, uint64_t id) { return Encoder(op, id).Take(); }

bool DecodeBare(std::string_view packet) { return Decoder(packet).Done(); }

std::string EncodeNumber(SpawnerOp op, uint64_t id, int64_t number) {
  Encoder out(op, id);
  out.Number(number);
  return out.Take();
}

bool DecodeNumber(std::string_view packet, int64_t* number) {
  Decoder in(packet);
  in.Number(number);
  return in.Done();
}

std::optional<SpawnerHeader> DecodeHeader(std::string_view packet) {
  if (packet.size() < kHeaderBytes) return std::nullopt;
  uint32_t version = 0;
  uint32_t op = 0;
  SpawnerHeader header;
  std::memcpy(&version, packet.data(), sizeof version);
  std::memcpy(&op, packet.data() + 4, sizeof op);
  std::memcpy(&header.id, packet.data() + 8, sizeof header.id);
  if (version != kSpawnerVersion) return std::nullopt;
  header.op = static_cast<SpawnerOp>(op);
  return header;
}

int ReceivePacket(int socket, char* buffer, size_t capacity, ReceivedPacket* packet) {
  *packet = ReceivedPacket();
  iovec piece{buffer, capacity};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kSpawnerFdsMax)] = {};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size;
  do {
    size = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno;
  packet->size = static_cast<size_t>(size);
  packet->truncated = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
      packet->fds.emplace_back(fd);
    }
  }
  return 0;
}

}  // namespace lever::fleet
