// Names out of other people's files, as they appear in messages.
//
// Safe to use from any thread.
#ifndef LIBLEVER_HOST_DEPLOY_QUOTED_H_
#define LIBLEVER_HOST_DEPLOY_QUOTED_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace lever::deploy {

// `text` between double quotes as JSON writes it, so that control characters and broken UTF-8 never
// reach a terminal or a log; what is longer than `bytes_max` is cut and ends in "...".
std::string Quoted(std::string_view text, size_t bytes_max = 200);

}  // namespace lever::deploy

#endif  // LIBLEVER_HOST_DEPLOY_QUOTED_H_
