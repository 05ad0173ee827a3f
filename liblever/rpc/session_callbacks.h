// What nghttp2 is told at a session's making: the callbacks, which pass on to Session, and the
// options.
//
// The tables are made once a process and never changed. Any thread.
#ifndef LIBLEVER_RPC_SESSION_CALLBACKS_H_
#define LIBLEVER_RPC_SESSION_CALLBACKS_H_

#include <nghttp2/nghttp2.h>

#include "liblever/rpc/connection.h"

namespace lever::rpc {

struct SessionCallbacks {
  static const nghttp2_session_callbacks* Get();
  static const nghttp2_option* Options(ConnectionOptions::Callers callers);
  static ssize_t ReadData(nghttp2_session* h2, int32_t stream_id, uint8_t* buffer, size_t size,
                          uint32_t* flags, nghttp2_data_source* source, void* self);

  // The PING between the two GOAWAYs of a drain.
  static constexpr uint8_t kDrainPing[8] = {'l', 'e', 'v', 'e', 'r', 'd', 'r', '1'};

 private:
  static nghttp2_session_callbacks* Make();
  static nghttp2_option* MakeOptions(ConnectionOptions::Callers callers);
};

}  // namespace lever::rpc

#endif  // LIBLEVER_RPC_SESSION_CALLBACKS_H_
