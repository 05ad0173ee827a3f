// The services of one loop that are reached without a host and without a network: for tests of programs.
//
// A client's link (HostLink::InProcess) asks for a connection to a service by name, which is a socketpair
// whose other end the service gets as if a host had introduced it: all that a call meets on its way is
// there but the host. What no service of the loop has the name of is answered NOT_FOUND.
//
// Threads: used only by who holds the loop's word.
#ifndef LIBLEVER_ROUTE_IN_PROCESS_H_
#define LIBLEVER_ROUTE_IN_PROCESS_H_

#include <boost/unordered/unordered_flat_map.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "liblever/base/fd.h"
#include "liblever/base/loop.h"
#include "liblever/base/status.h"
#include "liblever/rpc/server.h"

namespace lever::route {

class IncomingAcceptor;

class InProcess final : private rpc::CallDispatcher {
 public:
  explicit InProcess(Loop* loop);

  // ALREADY_EXISTS: a service of the loop has that name. The acceptor outlives its Remove().
  Status Add(std::string_view environment, std::string_view service, IncomingAcceptor* acceptor);
  // Does nothing for an acceptor that is not there.
  void Remove(const IncomingAcceptor* acceptor);

  // A connection to the service, for the caller "lever://env/service" or ""; without such a service to who
  // answers all calls NOT_FOUND. UNAVAILABLE: the service takes nobody.
  StatusOr<UniqueFd> Connect(std::string_view environment, std::string_view service,
                             std::string_view caller);
  // Which service has the name now: a number of its own, from 1; 0: none.
  uint64_t Find(std::string_view environment, std::string_view service) const;

 private:
  using Key = std::string;  // environment, NUL, service

  void OnCall(rpc::Call& call) override;

  struct Service {
    IncomingAcceptor* acceptor = nullptr;
    uint64_t number = 0;
  };

  uint64_t last_number_ = 0;
  boost::unordered_flat_map<Key, Service> services_;
  std::unique_ptr<rpc::Server> nobody_;
};

}  // namespace lever::route

#endif  // LIBLEVER_ROUTE_IN_PROCESS_H_
