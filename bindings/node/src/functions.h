// The functions of the addon, by subject. What they take beside their arguments is the command
// block (command.h), and those that may be refused return a lever_status; takeError() has its text.
//
// lib/native.js is their only caller, and gives them what they expect: arguments are not checked
// here.
#ifndef BINDINGS_NODE_SRC_FUNCTIONS_H_
#define BINDINGS_NODE_SRC_FUNCTIONS_H_

#include <napi.h>

#include <string_view>
#include <vector>

#include "binding.h"
#include "lever/lever.h"

namespace lever::node {

// open, setScratch, internAddress, takeError, now, holdTime, advanceTime, resumeTime, valueCheck,
// valueToJson, valueFromJson
void DefineQueueFunctions(Napi::Env env, Napi::Object exports, Binding* binding);
// clientCreate, clientClose, clientStats, callStart, callCancel
void DefineClientFunctions(Napi::Env env, Napi::Object exports, Binding* binding);
// streamOpen, streamWrite, streamWriteResumable, streamRead, streamCloseSend, streamMoved, streamFail,
// streamCancel
void DefineStreamFunctions(Napi::Env env, Napi::Object exports, Binding* binding);
// serviceCreate, serviceAddMethod, serviceSetResource, serviceAddResourceMethod, serviceStart,
// serviceDrain, serviceClose, serviceDetails, incomingBegin, incomingReply, incomingFail,
// resourceOpened, resourceClosed
void DefineServiceFunctions(Napi::Env env, Napi::Object exports, Binding* binding);
// takeOver, limitDescriptors
void DefineTakeoverFunctions(Napi::Env env, Napi::Object exports, Binding* binding);

// ---- What they share ----

using Function = Napi::Value (*)(const Napi::CallbackInfo& info);

template <Function function>
void Define(Napi::Env env, Napi::Object exports, const char* name, Binding* binding) {
  exports.Set(name, Napi::Function::New<function>(env, name, binding));
}

inline Binding& BindingOf(const Napi::CallbackInfo& info) {
  return *static_cast<Binding*>(info.Data());
}

inline Napi::Value Status(const Napi::CallbackInfo& info, lever_status status) {
  return Napi::Number::New(info.Env(), status);
}

// The payload of a command: the first argument, or else what is in the scratch memory. False: it is
// not there.
bool PayloadOf(const Napi::CallbackInfo& info, lever_slice* out);
// Its metadata, from the scratch memory. False: it is none.
bool MetadataOf(const Napi::CallbackInfo& info, std::vector<lever_metadata>* out);
// The resume token of a command, likewise; empty without.
bool TokenOf(const Napi::CallbackInfo& info, std::string_view* out);
// The options of the call or stream that a command asks for. `metadata` must outlive them.
bool CallOptionsOf(const Napi::CallbackInfo& info, lever_slice* payload,
                   std::vector<lever_metadata>* metadata, lever_call_options* out);

// lever_call_start and lever_stream_open, whose ids are both 64 bits.
using StartFunction = lever_status (*)(lever_client*, const lever_call_options*, uint64_t*,
                                       lever_error**);
// Starts what the command asks for, whose id becomes the command's.
Napi::Value Start(const Napi::CallbackInfo& info, StartFunction start);

}  // namespace lever::node

#endif  // BINDINGS_NODE_SRC_FUNCTIONS_H_
