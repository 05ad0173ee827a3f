// gRPC's length-prefixed messages: a flag byte, four bytes of length, the message.
//
// Wire: gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
// Not thread-safe. Bytes are never copied on the way, except by Compact().
//
// Invariants of MessageReader
//  1. Bytes are in one of two places: received and not looked at, or taken into the message that is
//     being assembled. Only Next() moves them, so that who calls it only under credit gives back
//     the window only under credit.
//  2. After Compact() what is kept occupies at most kCompactRatio times its size, plus a constant:
//     a peer that sends one byte a frame cannot pin a buffer a byte.
#ifndef LIBLEVER_RPC_FRAMING_H_
#define LIBLEVER_RPC_FRAMING_H_

#include <cstddef>
#include <cstdint>

#include "liblever/base/slice.h"
#include "liblever/base/status.h"
#include "liblever/rpc/compression.h"
#include "liblever/rpc/limits.h"

namespace lever::rpc {

class MessageReader {
 public:
  explicit MessageReader(size_t message_bytes_max = kMessageBytesMax)
      : message_bytes_max_(message_bytes_max) {}

  void Reset(size_t message_bytes_max);
  void set_message_bytes_max(size_t bytes) { message_bytes_max_ = bytes; }
  size_t message_bytes_max() const { return message_bytes_max_; }
  // Messages with the compressed flag are taken; they may be larger by what compression adds.
  void AllowCompressed() { compressed_allowed_ = true; }

  void Append(Slice bytes);

  // Moves received bytes to the message being assembled. True: it is whole and now in *message.
  // False: more bytes are needed. RESOURCE_EXHAUSTED for a message above the maximum and INTERNAL
  // for a compressed one where none was agreed, after which the reader is of no further use.
  StatusOr<bool> Next(SliceList* message);
  // Whether the message that Next() gave is compressed: still to be inflated then.
  bool compressed() const { return prefix_[0] != 0; }
  // Bytes that Next() has taken since the last call.
  size_t TakeConsumed();

  // Whether Next() would give a message, without moving anything.
  bool HasWholeMessage() const;
  // Bytes of the message that is being assembled.
  size_t assembled_bytes() const { return assembled_.bytes(); }
  // Whether nothing of a message is kept.
  bool Empty() const {
    return received_.bytes() == 0 && assembled_.bytes() == 0 && prefix_bytes_ == 0;
  }

  // What stays over a turn is copied out of large receive buffers and tiny pieces are joined.
  void Compact();

 private:
  // Slices in order, taken from the front.
  class Pieces {
   public:
    Pieces() = default;
    Pieces(const Pieces&) = delete;
    Pieces& operator=(const Pieces&) = delete;
    ~Pieces() { DropTail(); }

    size_t bytes() const { return bytes_; }
    void Push(Slice slice);
    // The first bytes, at most `size_max` of them and not more than one slice.
    Slice TakeFront(size_t size_max);
    // Copies up to `size` bytes from the front without taking them.
    void Peek(uint8_t* to, size_t size) const;
    void MoveTo(SliceList* message);
    void Compact();
    void Clear();

   private:
    // One past the last slice from `begin` on that lies in the same buffer as that at `begin`, and
    // whether together they use too little of it to keep it.
    size_t GroupEnd(size_t begin, bool* wasteful) const;
    // Copies `slice` to the tail buffer, as a part of the last of the `*kept` slices if that ends
    // where the copy begins, else as one more.
    void Join(const Slice& slice, size_t* kept);
    void DropTail();

    SliceList slices_;
    size_t head_ = 0;     // slices before it are taken
    size_t settled_ = 0;  // slices before it have been through Compact()
    size_t bytes_ = 0;
    // The buffer of the last joined slice, and how much of it is used.
    Buffer* tail_ = nullptr;
    size_t tail_used_ = 0;
  };

  Status ReadPrefix();

  size_t message_bytes_max_;
  Pieces received_;
  Pieces assembled_;
  bool compressed_allowed_ = false;
  uint8_t prefix_[kGrpcPrefixBytes] = {};
  size_t prefix_bytes_ = 0;   // of the prefix, while it is incomplete or its message is assembled
  size_t message_bytes_ = 0;  // from the prefix, once it is whole
  size_t consumed_ = 0;
};

// Makes the prefixes of outgoing messages. They lie in one small buffer that is used again when all
// that was written from it has been sent, so that a call that is used again allocates nothing.
class PrefixWriter {
 public:
  PrefixWriter() = default;
  PrefixWriter(const PrefixWriter&) = delete;
  PrefixWriter& operator=(const PrefixWriter&) = delete;
  ~PrefixWriter();

  // The prefix of a message of `message_bytes`, at most UINT32_MAX, as they are sent.
  Slice Prefix(size_t message_bytes, Compression compression = Compression::kIdentity);

 private:
  static constexpr size_t kPrefixesPerBuffer = 12;
  Buffer* buffer_ = nullptr;
  size_t used_ = 0;
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_FRAMING_H_
