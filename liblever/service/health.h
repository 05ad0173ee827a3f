// grpc.health.v1.Health/Check, for whoever calls a program at an address of its own.
//
// Threads: those of the call's loop.
#ifndef LIBLEVER_SERVICE_HEALTH_H_
#define LIBLEVER_SERVICE_HEALTH_H_

namespace lever::rpc {
class Call;
}  // namespace lever::rpc

namespace lever::service {

enum class Health : int { kServing = 1, kNotServing = 2 };  // as the protocol numbers them

// Takes the call over and answers it: `health` for "" and "lever.v1.Lever", NOT_FOUND else.
void AnswerHealthCheck(rpc::Call& call, Health health);

}  // namespace lever::service

#endif  // LIBLEVER_SERVICE_HEALTH_H_
