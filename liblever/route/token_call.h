// Shows a token on a connection, in the first call that goes over it: a health check.
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_ROUTE_TOKEN_CALL_H_
#define LIBLEVER_ROUTE_TOKEN_CALL_H_

#include <cstdint>
#include <functional>
#include <string_view>

#include "liblever/base/clock.h"
#include "liblever/base/status.h"

namespace lever {
class Loop;
namespace rpc {
class Channel;
class Connection;
}  // namespace rpc
}  // namespace lever

namespace lever::route {

// How long the instance may take to answer.
inline constexpr int64_t kTokenCallTimeoutNs = 5 * kNanosPerSecond;

// Called once, never from inside ShowToken(): OK when the connection takes calls now, else why not. Also
// when the channel or the connection is destroyed.
using TokenShown = std::function<void(const Status&)>;

void ShowToken(Loop* loop, rpc::Channel* channel, std::string_view token, TokenShown done);
// False, and `done` is not called: the connection takes no calls.
bool ShowToken(Loop* loop, rpc::Connection* connection, std::string_view token, TokenShown done);

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_TOKEN_CALL_H_
