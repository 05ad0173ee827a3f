// The exceptions of lever.hpp.
#ifndef LEVER_CPP_ERROR_HPP_
#define LEVER_CPP_ERROR_HPP_

#include <cstdint>
#include <exception>
#include <map>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "lever/cpp/value.hpp"
#include "lever/lever.h"

namespace lever {

// The point from which a stream of a resource goes on.
struct ResumePoint {
  std::string token;      // the last one that came with a message of the method's; empty without
  uint64_t received = 0;  // how many of its messages have come
};

// Trouble of the platform, or a misuse of the library.
class Error : public std::runtime_error {
 public:
  Error(lever_status code, const std::string& message,
        lever_executed executed = LEVER_EXECUTED_UNKNOWN, std::optional<ResumePoint> resume = {})
      : std::runtime_error(std::string(lever_status_name(code)) + ": " + message),
        code_(code),
        executed_(executed),
        resume_(std::move(resume)) {}

  lever_status code() const { return code_; }
  const char* name() const { return lever_status_name(code_); }
  // LEVER_EXECUTED_NO: the method surely did not run.
  lever_executed executed() const { return executed_; }
  // Of a stream that has ended and could be resumed: from where (CallOptions::resume). What its method had
  // read before is not known.
  const std::optional<ResumePoint>& resume() const { return resume_; }

 private:
  lever_status code_;
  lever_executed executed_;
  std::optional<ResumePoint> resume_;
};

// Thrown where a method reads a stream whose resource moves to another instance. One that lets it through has
// its stream go on there, see lever/cpp/resource.hpp.
class Moved final : public std::exception {
 public:
  const char* what() const noexcept override {
    return "the resource of the stream moves to another instance";
  }
};

// The method's own error. Thrown by a method, its value is what the caller gets.
class MethodError : public Error {
 public:
  explicit MethodError(Value value)
      : Error(LEVER_METHOD_ERROR, value.json(), LEVER_EXECUTED_YES), value_(std::move(value)) {}
  template <typename T>
    requires(!std::derived_from<std::remove_cvref_t<T>, std::exception> &&
             !std::same_as<std::remove_cvref_t<T>, Raw>)
  explicit MethodError(const T& value) : MethodError(Value(value)) {}

  // Bytes instead of a value, which travel as they are.
  explicit MethodError(Raw raw)
      : Error(LEVER_METHOD_ERROR, std::to_string(raw.bytes.size()) + " bytes", LEVER_EXECUTED_YES),
        raw_(std::move(raw)) {}

  // Nil where the error is bytes.
  const Value& value() const { return value_; }
  const std::optional<Raw>& raw() const { return raw_; }

 private:
  Value value_;
  std::optional<Raw> raw_;
};

namespace detail {

// Throws what `status` stands for; takes the error.
inline void Check(lever_status status, lever_error* error = nullptr) {
  if (status == LEVER_OK) return;
  const std::string message = error ? lever_error_message(error) : lever_status_text(status);
  lever_error_destroy(error);
  throw Error(status, message, LEVER_EXECUTED_NO);
}

[[noreturn]] inline void ThrowOutcome(int32_t status, int32_t executed, const std::string& message,
                                      const Payload& payload,
                                      std::optional<ResumePoint> resume = {}) {
  if (status == LEVER_METHOD_ERROR) {
    if (payload.is_raw()) throw MethodError(Raw{payload.bytes});
    throw MethodError(Value::FromPacked(payload.bytes));
  }
  throw Error(static_cast<lever_status>(status), message, static_cast<lever_executed>(executed),
              std::move(resume));
}

// The exception that is being handled, as a method's own error.
inline Payload CurrentExceptionAsError() {
  const auto described = [](const char* name, const char* message) {
    Payload payload = PackValue(
        std::map<std::string, std::string>{{"name", name}, {"message", message}});
    payload.kind = LEVER_KIND_ERROR_VALUE;
    return payload;
  };
  try {
    throw;
  } catch (const MethodError& error) {
    if (error.raw()) return {LEVER_KIND_ERROR_RAW, error.raw()->bytes};
    return {LEVER_KIND_ERROR_VALUE, error.value().packed()};
  } catch (const Error& error) {
    return described(error.name(), error.what());
  } catch (const std::exception& error) {
    return described("Error", error.what());
  } catch (...) {
    return described("Error", "an exception of an unknown type");
  }
}

}  // namespace detail
}  // namespace lever

#endif  // LEVER_CPP_ERROR_HPP_
