// MessagePack values as JSON text and back.
//
// What JSON has, is JSON: nil, booleans, strings, arrays, maps whose keys are strings that do not
// repeat. An integer is digits, a float always has a fraction or an exponent. The rest has a form
// of its own, an object with one key:
//   {"$bytes":"base64"}   {"$time":"RFC 3339"}   {"$ext":[type,"base64"]}
//   {"$float":"NaN"|"Infinity"|"-Infinity"}      {"$map":[[key,value],...]}
// A map whose only key begins with '$' is written with one '$' more, and read with one less;
// objects of several keys are never special. docs/wire.md has it all, tests/vectors/values.json
// examples.
//
// Functions only; any thread. Nothing recurses, and one conversion allocates no more than limits.h
// says.
//  1. What JsonToMessagePack gives passes CheckValue and reads back to an equal value.
//  2. What MessagePackToJson gives is one line of valid JSON in UTF-8, which JsonToMessagePack
//  reads
//     to an equal value (float32 becomes float64, lengths and integers take their shortest form).
//  3. Whatever is refused is INVALID_ARGUMENT, unexecuted; what exceeds a size is
//  RESOURCE_EXHAUSTED,
//     unexecuted. Messages are ASCII and short, whatever the input.
#ifndef LIBLEVER_VALUE_JSON_H_
#define LIBLEVER_VALUE_JSON_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "liblever/base/status.h"
#include "liblever/value/check.h"
#include "liblever/value/limits.h"

namespace lever::value {

// Reads one JSON text; the encodings are the shortest ones.
StatusOr<std::string> JsonToMessagePack(std::string_view json);

// Checks `value` and writes it. RESOURCE_EXHAUSTED where the text would be longer than `bytes_max`;
// it is never longer than kJsonExpansionMax times the value and some.
StatusOr<std::string> MessagePackToJson(Bytes value, size_t bytes_max = kJsonBytesMax);
StatusOr<std::string> MessagePackToJson(std::string_view value, size_t bytes_max = kJsonBytesMax);

// Appends `text` as a JSON string in its quotation marks. It must be UTF-8.
void AppendJsonString(std::string_view text, std::string* out);

}  // namespace lever::value

#endif  // LIBLEVER_VALUE_JSON_H_
