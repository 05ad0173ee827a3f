#include "liblever/base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string>

namespace lever {
namespace {

bool IsOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

size_t OpenDescriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

UniqueFd DevNull() { return UniqueFd(::open("/dev/null", O_RDWR | O_CLOEXEC)); }

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

TEST(UniqueFd, ClosesAtItsEndAndWhenReplaced) {
  int first;
  int second;
  {
    UniqueFd fd = DevNull();
    ASSERT_TRUE(fd.valid());
    first = fd.get();
    fd = DevNull();
    second = fd.get();
    EXPECT_FALSE(IsOpen(first) && first != second);
    EXPECT_TRUE(IsOpen(second));
  }
  EXPECT_FALSE(IsOpen(second));
}

TEST(UniqueFd, MovesAndReleases) {
  UniqueFd one = DevNull();
  const int number = one.get();
  UniqueFd two = std::move(one);
  EXPECT_FALSE(one.valid());  // NOLINT
  EXPECT_EQ(two.get(), number);
  EXPECT_EQ(two.release(), number);
  EXPECT_FALSE(two.valid());
  EXPECT_TRUE(IsOpen(number));
  ::close(number);
}

TEST(UniqueFd, ResetKeepsErrno) {
  UniqueFd fd(1 << 20);  // close() fails with EBADF
  errno = ENOENT;
  fd.reset();
  EXPECT_EQ(errno, ENOENT);
}

TEST(Fd, SocketPairIsNonBlockingAndCloseOnExec) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair.ok());
  for (const int fd : {pair->first.get(), pair->second.get()}) {
    EXPECT_NE(::fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    EXPECT_NE(::fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  }
  EXPECT_FALSE(SocketPair(12345).ok());
}

TEST(Fd, FlagsCanBeSet) {
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  ASSERT_TRUE(SetNonBlocking(reader.get()).ok());
  EXPECT_NE(::fcntl(reader.get(), F_GETFL) & O_NONBLOCK, 0);
  ASSERT_TRUE(SetInherit(reader.get(), Inherit::kNo).ok());
  EXPECT_NE(::fcntl(reader.get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_TRUE(SetInherit(reader.get(), Inherit::kYes).ok());
  EXPECT_EQ(::fcntl(reader.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_FALSE(SetNonBlocking(-1).ok());
  EXPECT_FALSE(SetInherit(-1, Inherit::kNo).ok());
}

class FdPassing : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pair = SocketPair(SOCK_SEQPACKET);
    ASSERT_TRUE(pair.ok());
    sender_ = std::move(pair->first);
    receiver_ = std::move(pair->second);
  }

  // Sends `text` with `count` descriptors of its own.
  Status Send(std::string_view text, size_t count) {
    std::vector<UniqueFd> owned;
    std::vector<int> fds;
    for (size_t i = 0; i < count; ++i) fds.push_back(owned.emplace_back(DevNull()).get());
    return SendWithFds(sender_.get(), Bytes(text), fds);
  }
  StatusOr<FdMessage> Receive(size_t count) {
    return ReceiveWithFds(receiver_.get(), buffer_, count);
  }
  std::string Text(size_t size) const {
    return std::string(reinterpret_cast<const char*>(buffer_.data()), size);
  }

  UniqueFd sender_;
  UniqueFd receiver_;
  std::array<uint8_t, 32> buffer_{};
};

TEST_F(FdPassing, BytesAndDescriptorsArriveCloseOnExec) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  UniqueFd reader(fds[0]);
  UniqueFd writer(fds[1]);
  const int sent[] = {writer.get()};
  ASSERT_TRUE(SendWithFds(sender_.get(), Bytes("hello"), sent).ok());
  writer.reset();
  auto message = Receive(1);
  ASSERT_TRUE(message.ok()) << message.status().ToString();
  EXPECT_EQ(Text(message->size), "hello");
  ASSERT_EQ(message->fds.size(), 1u);
  EXPECT_NE(::fcntl(message->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  ASSERT_EQ(::write(message->fds[0].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(::read(reader.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST_F(FdPassing, NoneAndTheMostThatAreAllowed) {
  ASSERT_TRUE(Send("none", 0).ok());
  ASSERT_TRUE(Send("most", kFdsPerMessageMax).ok());
  EXPECT_EQ(Send("more", kFdsPerMessageMax + 1).code(), LEVER_INVALID_ARGUMENT);
  EXPECT_TRUE(Receive(0).ok());
  auto most = Receive(kFdsPerMessageMax);
  ASSERT_TRUE(most.ok());
  EXPECT_EQ(most->fds.size(), kFdsPerMessageMax);
}

TEST_F(FdPassing, AnotherNumberIsRefusedAndNothingStaysOpen) {
  const size_t before = OpenDescriptors();
  for (const size_t count : {0u, 2u, 3u}) {
    ASSERT_TRUE(Send("x", count).ok());
    EXPECT_EQ(Receive(1).status().code(), LEVER_INVALID_ARGUMENT) << count;
  }
  EXPECT_EQ(OpenDescriptors(), before);
  ASSERT_TRUE(Send("x", 1).ok());
  EXPECT_TRUE(Receive(1).ok()) << "the next message can be received";
}

TEST_F(FdPassing, ATruncatedMessageIsRefusedAndNothingStaysOpen) {
  const size_t before = OpenDescriptors();
  ASSERT_TRUE(Send(std::string(buffer_.size() + 1, 'x'), 1).ok());
  EXPECT_EQ(Receive(1).status().code(), LEVER_DATA_LOSS);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(FdPassing, TruncatedDescriptorsAreRefusedAndNothingStaysOpen) {
  const size_t before = OpenDescriptors();
  // More than SendWithFds() would send.
  constexpr size_t kMany = kFdsPerMessageMax + 8;
  std::array<UniqueFd, kMany> owned;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMany)] = {};
  char byte = 'x';
  iovec vector{&byte, 1};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * kMany);
  for (size_t i = 0; i < kMany; ++i) {
    owned[i] = DevNull();
    const int fd = owned[i].get();
    std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(fd));
  }
  ASSERT_EQ(::sendmsg(sender_.get(), &message, 0), 1);
  for (UniqueFd& fd : owned) fd.reset();
  EXPECT_EQ(Receive(1).status().code(), LEVER_DATA_LOSS);
  EXPECT_EQ(OpenDescriptors(), before);
}

TEST_F(FdPassing, NeverWaits) {
  EXPECT_EQ(Receive(1).status().code(), LEVER_WOULD_BLOCK);
  Status status;
  for (int i = 0; i < 100'000 && status.ok(); ++i) status = Send("x", 0);
  EXPECT_EQ(status.code(), LEVER_WOULD_BLOCK);
}

TEST_F(FdPassing, ThePeersEndIsUnavailable) {
  sender_.reset();
  EXPECT_EQ(Receive(1).status().code(), LEVER_UNAVAILABLE);
  SetUp();
  receiver_.reset();
  EXPECT_EQ(Send("x", 1).code(), LEVER_UNAVAILABLE);
}

TEST_F(FdPassing, AnEmptyMessageIsNotSent) {
  EXPECT_EQ(Send("", 1).code(), LEVER_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lever
