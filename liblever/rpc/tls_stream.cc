#include "liblever/rpc/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "liblever/rpc/counters.h"
#include "liblever/rpc/endpoint.h"
#include "liblever/rpc/limits.h"
#include "liblever/rpc/tls_identity.h"

namespace lever::rpc {

// What OpenSSL calls back.
struct TlsHooks {
  static TlsStream* Of(const SSL* ssl) { return static_cast<TlsStream*>(SSL_get_app_data(ssl)); }

  static int Read(BIO* bio, char* data, size_t size, size_t* moved) {
    auto* stream = static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (stream->too_many_messages_) return 0;
    if (stream->input_empty_) {
      BIO_set_retry_read(bio);
      return 0;
    }
    const IoResult result =
        stream->inner_->Read({reinterpret_cast<uint8_t*>(data), size});
    stream->heard_ = stream->heard_ || result.bytes > 0;
    // What is known of an empty socket holds only until Read() returns; a handshake asks again.
    stream->input_empty_ = result.drained && stream->established_;
    return Moved(stream, bio, result, moved, BIO_FLAGS_READ);
  }

  static int Write(BIO* bio, const char* data, size_t size, size_t* moved) {
    auto* stream = static_cast<TlsStream*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const iovec piece{const_cast<char*>(data), size};
    return Moved(stream, bio, stream->inner_->Write({&piece, 1}), moved, BIO_FLAGS_WRITE);
  }

  static int Moved(TlsStream* stream, BIO* bio, const IoResult& result, size_t* moved, int retry) {
    *moved = result.bytes;
    if (result.bytes > 0) return 1;
    if (result.error == EAGAIN) {
      BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    } else if (result.error == 0) {
      BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    } else {
      stream->inner_error_ = result.error;
      return -1;
    }
    return 0;
  }

  static long Control(BIO* bio, int command, long number, void* pointer) {
    switch (command) {
      case BIO_CTRL_FLUSH: return 1;
      case BIO_CTRL_EOF: return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
      default: return 0;
    }
  }

  static BIO_METHOD* Method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "lever");
      BIO_meth_set_read_ex(made, &Read);
      BIO_meth_set_write_ex(made, &Write);
      BIO_meth_set_ctrl(made, &Control);
      return made;
    }();
    return method;
  }

  // Each message of the handshake's protocol and each alert that comes after the handshake.
  static void OnMessage(int sent, int version, int content_type, const void* data, size_t size,
                        SSL* ssl, void* argument) {
    TlsStream* stream = Of(ssl);
    const bool counts = content_type == SSL3_RT_HANDSHAKE || content_type == SSL3_RT_ALERT;
    if (sent != 0 || !stream->established_ || !counts) return;
    if (stream->messages_.Spend(stream->clock_.NowNs())) return;
    stream->too_many_messages_ = true;
  }

  static int ChooseProtocol(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                            const unsigned char* in, unsigned in_size, void* argument) {
    static constexpr unsigned char kBoth[] = "\x02h2\x08http/1.1";
    constexpr unsigned kHttp2Bytes = 3;
    const bool only_http2 = Of(ssl)->offer_ == TlsOffer::kHttp2;
    unsigned char* chosen = nullptr;
    const int found = SSL_select_next_proto(&chosen, out_size, kBoth,
                                            only_http2 ? kHttp2Bytes : sizeof(kBoth) - 1, in, in_size);
    if (found != OPENSSL_NPN_NEGOTIATED) return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
  }

  static int OnVerified(int passed, X509_STORE_CTX* store) {
    if (passed != 0) return 1;
    auto* ssl = static_cast<SSL*>(
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    // Who has signed the key that is wanted does not matter; Established() looks at the key.
    if (!Of(ssl)->key_hash_.empty()) return 1;
    const X509* certificate = X509_STORE_CTX_get0_cert(store);
    if (certificate != nullptr) Of(ssl)->peer_names_ = CertificateNames(certificate);
    return 0;
  }
};

namespace {

// One record's.
constexpr size_t kRecordBytesMax = SSL3_RT_MAX_PLAIN_LENGTH;

// Walks over the pieces of a Write().
class Pieces {
 public:
  explicit Pieces(std::span<const iovec> pieces) : pieces_(pieces) {}

  // The next bytes, at most `size`: as they lie if they lie together, else copied to `scratch`.
  std::span<const uint8_t> Peek(size_t size, std::span<uint8_t> scratch) const {
    size_t copied = 0;
    size_t offset = offset_;
    for (size_t i = index_; i < pieces_.size(); ++i, offset = 0) {
      const auto* data = static_cast<const uint8_t*>(pieces_[i].iov_base) + offset;
      const size_t part = std::min(pieces_[i].iov_len - offset, size - copied);
      const bool last = copied + part == size || i + 1 == pieces_.size();
      if (copied == 0 && last) return {data, part};
      std::memcpy(scratch.data() + copied, data, part);
      copied += part;
      if (copied == size) break;
    }
    return scratch.first(copied);
  }

  void Skip(size_t size) {
    while (size > 0) {
      const size_t part = std::min(size, pieces_[index_].iov_len - offset_);
      size -= part;
      offset_ += part;
      if (offset_ < pieces_[index_].iov_len) continue;
      ++index_;
      offset_ = 0;
    }
  }

 private:
  std::span<const iovec> pieces_;
  size_t index_ = 0;
  size_t offset_ = 0;
};

}  // namespace

void InstallTlsServerHooks(ssl_ctx_st* context) {
  SSL_CTX_set_alpn_select_cb(context, &TlsHooks::ChooseProtocol, nullptr);
}

// ---- Life ----

TlsStream::TlsStream(std::unique_ptr<ByteStream> inner, TlsSide side, const Clock& clock)
    : inner_(std::move(inner)),
      side_(side),
      clock_(clock),
      messages_(kTlsMessagesBurst, kTlsMessagesPerSecond, clock.NowNs()) {}

TlsStream::~TlsStream() {
  // As good as it goes, and not on a socket that is the parent's.
  if (established_ && !broken_ && !close_sent_ && !fork_check_.Forked()) SSL_shutdown(ssl_);
  if (ssl_ != nullptr) SSL_free(ssl_);
  ERR_clear_error();
}

Status TlsStream::Init(std::shared_ptr<ssl_ctx_st> context) {
  ERR_clear_error();
  ssl_ = SSL_new(context.get());
  BIO* bio = ssl_ == nullptr ? nullptr : BIO_new(TlsHooks::Method());
  if (bio == nullptr) return ResourceExhausted("TLS: " + TlsErrorText());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  SSL_set_app_data(ssl_, this);
  SSL_set_msg_callback(ssl_, &TlsHooks::OnMessage);
  SSL_set_verify(ssl_, SSL_CTX_get_verify_mode(context.get()), &TlsHooks::OnVerified);
  return Status::Ok();
}

StatusOr<std::unique_ptr<TlsStream>> TlsStream::Server(std::unique_ptr<ByteStream> inner,
                                                       TlsServerContext& context, TlsOffer offer,
                                                       const Clock& clock) {
  std::unique_ptr<TlsStream> stream(new TlsStream(std::move(inner), TlsSide::kServer, clock));
  LEVER_RETURN_IF_ERROR(stream->Init(context.Current(clock)));
  stream->offer_ = offer;
  SSL_set_accept_state(stream->ssl_);
  return stream;
}

StatusOr<std::unique_ptr<TlsStream>> TlsStream::Client(std::unique_ptr<ByteStream> inner,
                                                       TlsClientContext& context, std::string name,
                                                       const Clock& clock) {
  std::unique_ptr<TlsStream> stream(new TlsStream(std::move(inner), TlsSide::kClient, clock));
  LEVER_RETURN_IF_ERROR(stream->Init(context.Current(clock)));
  SSL* const ssl = stream->ssl_;
  X509_VERIFY_PARAM* const wanted = SSL_get0_param(ssl);
  stream->key_hash_ = context.options().server_key_hash;
  bool set = true;
  if (!stream->key_hash_.empty()) {
    // The key says who it is.
  } else if (IsIpAddress(name)) {
    set = X509_VERIFY_PARAM_set1_ip_asc(wanted, name.c_str()) == 1;
  } else {
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    set = X509_VERIFY_PARAM_set1_host(wanted, name.data(), name.size()) == 1 &&
          SSL_set_tlsext_host_name(ssl, name.c_str()) == 1;
  }
  static constexpr unsigned char kHttp2[] = "\x02h2";
  set = set && SSL_set_alpn_protos(ssl, kHttp2, sizeof(kHttp2) - 1) == 0;
  if (!set) return InvalidArgument("TLS: '" + name + "' is no name for a server: " + TlsErrorText());
  stream->name_ = std::move(name);
  SSL_set_connect_state(ssl);
  return stream;
}

// ---- The handshake ----

TlsStream::Step TlsStream::Handshake() {
  assert(!established_ && !broken_);
  ERR_clear_error();
  inner_error_ = 0;
  const int result = SSL_do_handshake(ssl_);
  if (result == 1) return Established() ? Step::kDone : Step::kFailed;
  const int error = SSL_get_error(ssl_, result);
  if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return Step::kWaits;
  Fail(error);
  return Step::kFailed;
}

bool TlsStream::HasWantedKey() {
  if (key_hash_.empty()) return true;
  if (KeyHashOf(SSL_get0_peer_certificate(ssl_)) == key_hash_) return true;
  trouble_ = "the server at " + name_ + " has another key than the one that it was announced with";
  return false;
}

bool TlsStream::Established() {
  if (!HasWantedKey()) return false;
  const unsigned char* chosen = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl_, &chosen, &size);
  const std::string_view name(reinterpret_cast<const char*>(chosen), size);
  if (name == "h2") {
    protocol_ = TlsProtocol::kHttp2;
  } else if (name == "http/1.1") {
    protocol_ = TlsProtocol::kHttp1;
  } else if (side_ == TlsSide::kClient || offer_ == TlsOffer::kHttp2) {
    trouble_ = side_ == TlsSide::kClient ? "the server does not speak HTTP/2 (it chose no ALPN h2)"
                                         : "the client does not speak HTTP/2 (it offers no ALPN h2)";
    return false;
  }
  established_ = true;
  return true;
}

int TlsStream::Fail(int ssl_error) {
  broken_ = true;
  if (too_many_messages_) {
    Count(LocalCounters().limit_tls_messages);
    trouble_ = "the peer sends too many TLS messages that carry nothing";
    return EPROTO;
  }
  if (ssl_error == SSL_ERROR_SYSCALL) {
    ERR_clear_error();
    const int error = inner_error_ != 0 ? inner_error_ : ECONNRESET;
    trouble_ = std::strerror(error);
    return error;
  }
  TlsTrouble trouble = DescribeTlsTrouble(ssl_, side_, name_, peer_names_);
  plain_http_ = trouble.plain_http;
  if (trouble.cut_off && !established_) trouble.text = "the peer closed the connection";
  trouble_ = std::move(trouble.text);
  return trouble.cut_off ? ECONNRESET : EPROTO;
}

// ---- In ----

IoResult TlsStream::Read(std::span<uint8_t> into) {
  if (read_failed_) return {.bytes = 0, .error = read_error_};
  IoResult result;
  input_empty_ = false;
  while (result.bytes < into.size()) {
    ERR_clear_error();
    size_t moved = 0;
    const int read =
        SSL_read_ex(ssl_, into.data() + result.bytes, into.size() - result.bytes, &moved);
    if (read == 1) {
      result.bytes += moved;
      continue;
    }
    const int error = SSL_get_error(ssl_, read);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
      if (result.bytes > 0) {
        result.drained = true;
        break;
      }
      if (!input_empty_) {
        result.error = EAGAIN;
        break;
      }
      // A part of a record was all there was; the end of the input may be behind it.
      input_empty_ = false;
      continue;
    }
    read_failed_ = true;
    read_error_ = error == SSL_ERROR_ZERO_RETURN ? 0 : Fail(error);
    if (result.bytes == 0) result.error = read_error_;
    break;
  }
  input_empty_ = false;
  return result;
}

bool TlsStream::HasBufferedInput() const { return read_failed_ || SSL_has_pending(ssl_) == 1; }

// ---- Out ----

IoResult TlsStream::Write(std::span<const iovec> pieces) {
  thread_local std::array<uint8_t, kRecordBytesMax> scratch;
  IoResult result;
  if (broken_ || close_sent_) {
    result.error = EPIPE;
    return result;
  }
  Pieces left(pieces);
  for (;;) {
    // A record that was begun goes on as it was.
    const std::span<const uint8_t> record =
        left.Peek(retry_bytes_ != 0 ? retry_bytes_ : kRecordBytesMax, scratch);
    if (record.empty()) return result;
    assert(record.size() >= retry_bytes_);
    ERR_clear_error();
    inner_error_ = 0;
    size_t moved = 0;
    const int written = SSL_write_ex(ssl_, record.data(), record.size(), &moved);
    if (written == 1) {
      retry_bytes_ = 0;
      result.bytes += moved;
      left.Skip(moved);
      continue;
    }
    const int error = SSL_get_error(ssl_, written);
    if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ) {
      retry_bytes_ = record.size();
      if (result.bytes == 0) result.error = EAGAIN;
      return result;
    }
    const int failed = Fail(error);
    if (result.bytes == 0) result.error = failed;
    return result;
  }
}

bool TlsStream::ShutdownWrite() {
  if (established_ && !broken_ && !close_sent_) {
    ERR_clear_error();
    const int sent = SSL_shutdown(ssl_);
    if (sent < 0 && SSL_get_error(ssl_, sent) == SSL_ERROR_WANT_WRITE) return false;
    ERR_clear_error();
    close_sent_ = true;
  }
  return inner_->ShutdownWrite();
}

}  // namespace lever::rpc
