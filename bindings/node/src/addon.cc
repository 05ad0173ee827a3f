// The addon: one Binding for each JavaScript environment that loads it.
#include <napi.h>

#include "binding.h"
#include "functions.h"
#include "lever/lever.h"

namespace {

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  // Ends with the environment.
  auto* binding = new lever::node::Binding(env);
  exports.Set("version", lever_version());
  lever::node::DefineQueueFunctions(env, exports, binding);
  lever::node::DefineClientFunctions(env, exports, binding);
  lever::node::DefineStreamFunctions(env, exports, binding);
  lever::node::DefineServiceFunctions(env, exports, binding);
  lever::node::DefineTakeoverFunctions(env, exports, binding);
  return exports;
}

}  // namespace

NODE_API_MODULE(lever, Init)
