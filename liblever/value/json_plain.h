// JSON -> MessagePack for the texts that nearly all calls have, without a lexer and its
// allocations: literals, integers, strings without escapes, arrays and objects of these.
//
// It only ever says yes. What it leaves alone (false), right or wrong, is for the full reader
// (json_read.cc) to judge; what it takes, the full reader takes too, with the same bytes. The fuzz
// target `value` compares them. Nothing recurses. Functions only; any thread.
#ifndef LIBLEVER_VALUE_JSON_PLAIN_H_
#define LIBLEVER_VALUE_JSON_PLAIN_H_

#include <string>
#include <string_view>

#include "liblever/base/status.h"

namespace lever::value {

// True: *out, which was empty, is the value. False: *out is of no use.
bool ReadPlainJson(std::string_view json, std::string* out);

// The full reader alone: JsonToMessagePack() is both.
StatusOr<std::string> ReadAnyJson(std::string_view json);

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_JSON_PLAIN_H_
