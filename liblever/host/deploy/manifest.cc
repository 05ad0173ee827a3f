#include "liblever/host/deploy/manifest.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "liblever/host/deploy/quoted.h"
#include "liblever/policy/address.h"

namespace lever::deploy {
namespace {

using nlohmann::json;

// A problem names things out of the text; a long one is cut.
constexpr size_t kQuotedBytesMax = 64;

std::string Named(std::string_view text) { return Quoted(text, kQuotedBytesMax); }

// One file's problems, one line each, with a bound on how many are kept.
class Problems {
 public:
  void Add(std::string line) {
    if (++count_ > kManifestProblemsMax) return;
    if (!text_.empty()) text_ += '\n';
    text_.append(kManifestFile).append(": ").append(line);
  }

  bool full() const { return count_ >= kManifestProblemsMax; }

  Status ToStatus() const {
    if (count_ == 0) return Status::Ok();
    std::string text = text_;
    if (count_ > kManifestProblemsMax) {
      text += "\nlever.json: and " + std::to_string(count_ - kManifestProblemsMax) + " more";
    }
    return InvalidArgument(std::move(text));
  }

 private:
  std::string text_;
  int64_t count_ = 0;
};

// Finds what the tree of values can no longer show: repeated keys, integers that would turn into
// floats, nesting beyond the bound (before anything recursive meets it), and where the syntax
// broke.
class StructureCheck final : public nlohmann::json_sax<json> {
 public:
  StructureCheck(std::string_view text, Problems* problems) : text_(text), problems_(problems) {}

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t& digits) override {
    if (digits.find_first_of(".eE") == std::string::npos) {
      problems_->Add("the integer " + Named(digits) + " does not fit in 64 bits");
    }
    return true;
  }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return Enter(); }
  bool end_array() override { return Leave(); }
  bool start_object(std::size_t) override { return Enter(); }
  bool end_object() override { return Leave(); }

  bool key(string_t& key) override {
    if (!keys_.back().insert(key).second) problems_->Add("repeated field " + Named(key));
    return true;
  }

  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // The parser counts from 1 and includes the byte that it did not want.
    std::string_view before =
        text_.substr(0, std::min(text_.size(), position > 0 ? position - 1 : 0));
    size_t line = 1 + std::count(before.begin(), before.end(), '\n');
    size_t line_start = before.rfind('\n');
    size_t column = before.size() - (line_start == before.npos ? 0 : line_start + 1) + 1;
    problems_->Add("not valid JSON at line " + std::to_string(line) + ", column " +
                   std::to_string(column) + ": " + Reason(error.what()));
    return false;
  }

 private:
  // The parser's sentence without its prefix and without the text that it had read, which may be
  // of any length: "unexpected end of input".
  static std::string Reason(std::string_view sentence) {
    size_t start = sentence.find(" - ");
    if (start == sentence.npos) return "a number that is too large";
    sentence.remove_prefix(start + 3);
    return std::string(sentence.substr(0, sentence.find("; last read")));
  }

  bool Enter() {
    keys_.emplace_back();
    if (keys_.size() <= static_cast<size_t>(kManifestDepthMax)) return true;
    problems_->Add("arrays and objects are nested more than " + std::to_string(kManifestDepthMax) +
                   " deep");
    return false;
  }
  bool Leave() {
    keys_.pop_back();
    return true;
  }

  std::string_view text_;
  Problems* problems_;
  std::vector<std::set<std::string>> keys_;  // one for each open array or object
};

std::string Describe(const json& value) {
  switch (value.type()) {
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return Named(value.get_ref<const std::string&>());
    default:
      return value.dump();
  }
}

// Reads one value into one field of a Manifest, or adds the problem that names both.
class FieldReader {
 public:
  FieldReader(std::string_view field, const json& value, Problems* problems)
      : field_(field), value_(value), problems_(problems) {}

  void String(int64_t bytes_max, std::string* out) {
    std::string wanted = "a string of at most " + std::to_string(bytes_max) + " bytes";
    if (!IsText(value_, 0, bytes_max)) return Wanted(wanted);
    *out = value_.get<std::string>();
  }

  void ServiceName(std::string* out) {
    const auto* name = value_.get_ptr<const std::string*>();
    if (name == nullptr || !IsServiceName(*name)) {
      return Wanted("1 to 63 letters, digits and hyphens that begin with a small letter");
    }
    *out = *name;
  }

  // The rules of policy/address.h, without the methods that stream.
  void UnaryMethod(std::string* out) {
    const auto* name = value_.get_ptr<const std::string*>();
    if (name == nullptr || !policy::CheckMethod(*name).ok() || policy::IsStreamingMethod(*name)) {
      return Wanted("the name of a method that does not stream");
    }
    *out = *name;
  }

  // A path of a file in the bundle. Extraction and the driver resolve it in the kernel; here only
  // what could never be one is refused, so that the mistake is named at deploy.
  void File(std::string* out) {
    if (!IsText(value_, 1, kArgumentBytesMax)) return Wanted("the path of a file in the bundle");
    std::string path = value_.get<std::string>();
    bool leaves = path.front() == '/' || ("/" + path + "/").find("/../") != std::string::npos;
    if (leaves) return Wanted("a path inside the bundle, without '..'");
    *out = std::move(path);
  }

  void Argv(std::vector<std::string>* out) {
    bool fits = value_.is_array() && !value_.empty() &&
                value_.size() <= static_cast<size_t>(kArgumentsMax) &&
                IsText(value_.front(), 1, kArgumentBytesMax);
    for (size_t i = 1; fits && i < value_.size(); ++i) {
      fits = IsText(value_[i], 0, kArgumentBytesMax);
    }
    if (!fits) {
      return Wanted("an array of a program and its arguments, 1 to " +
                    std::to_string(kArgumentsMax) + " strings");
    }
    *out = value_.get<std::vector<std::string>>();
  }

  void Bool(bool* out) {
    if (!value_.is_boolean()) return Wanted("true or false");
    *out = value_.get<bool>();
  }

  void Integer(int64_t least, int64_t most, std::string_view unit, int64_t* out) {
    std::optional<int64_t> number = AsInteger();
    if (!number || *number < least || *number > most) {
      std::string wanted = "a whole number ";
      if (!unit.empty()) wanted.append("of ").append(unit).append(" ");
      return Wanted(wanted + "from " + std::to_string(least) + " to " + std::to_string(most));
    }
    *out = *number;
  }

  void PowerOfTwo(int64_t most, int64_t* out) {
    std::optional<int64_t> number = AsInteger();
    if (!number || *number < 1 || *number > most || (*number & (*number - 1)) != 0) {
      return Wanted("a power of two from 1 to " + std::to_string(most));
    }
    *out = *number;
  }

  void Load(double most, double* out) {
    if (!value_.is_number() || !(value_.get<double>() > 0) || value_.get<double>() > most) {
      return Wanted("a number above 0 and at most " + std::to_string(std::llround(most)));
    }
    *out = value_.get<double>();
  }

  void Sandbox(std::string* out) {
    const auto* text = value_.get_ptr<const std::string*>();
    if (text == nullptr || (*text != "bwrap" && *text != "none")) {
      return Wanted("\"bwrap\" or \"none\"");
    }
    *out = *text;
  }

  // 0 is no limit.
  void Cpu(int64_t* millis) {
    const double cores = value_.is_number() ? value_.get<double>() : -1;
    if (cores != 0 && !(cores * 1000 >= kCpuMillisMin && cores * 1000 <= kCpuMillisMax)) {
      return Wanted("a number of cores from 0.01 to " + std::to_string(kCpuMillisMax / 1000) +
                    ", or 0 for no limit");
    }
    *millis = std::llround(cores * 1000);
  }

  void Duration(int64_t least_ns, int64_t most_ns, int64_t* out) {
    std::optional<int64_t> duration = AsDuration();
    if (!duration || *duration < least_ns || *duration > most_ns) {
      return Wanted("seconds or a text such as \"1.5s\", \"250ms\", \"5m\", from " +
                    DurationText(least_ns) + " to " + DurationText(most_ns));
    }
    *out = *duration;
  }

  void Json(std::string* out) { *out = value_.dump(); }

 private:
  void Wanted(std::string_view wanted) {
    problems_->Add(Named(field_) + " must be " + std::string(wanted) + ", not " +
                   Describe(value_));
  }

  static bool IsText(const json& value, int64_t least, int64_t most) {
    const auto* text = value.get_ptr<const std::string*>();
    return text != nullptr && text->size() >= static_cast<size_t>(least) &&
           text->size() <= static_cast<size_t>(most) && text->find('\0') == std::string::npos;
  }

  static bool IsServiceName(std::string_view name) {
    auto small = [](char c) { return c >= 'a' && c <= 'z'; };
    auto inner = [&](char c) {
      return small(c) || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
    };
    return !name.empty() && name.size() <= 63 && small(name[0]) &&
           std::all_of(name.begin(), name.end(), inner);
  }

  std::optional<int64_t> AsInteger() const {
    if (!value_.is_number_integer()) return std::nullopt;
    // An unsigned value above the signed range is above every field's range too.
    if (value_.is_number_unsigned() && value_.get<uint64_t>() > INT64_MAX) return std::nullopt;
    return value_.get<int64_t>();
  }

  std::optional<int64_t> AsDuration() const {
    if (const auto* text = value_.get_ptr<const std::string*>()) {
      StatusOr<int64_t> duration = ParseDuration(*text);
      if (!duration.ok()) return std::nullopt;
      return *duration;
    }
    if (!value_.is_number()) return std::nullopt;
    double seconds = value_.get<double>();
    if (!(seconds >= 0) || seconds > 1e9) return std::nullopt;
    return std::llround(seconds * 1000) * kNanosPerMilli;
  }

  static std::string DurationText(int64_t ns) {
    if (ns % kNanosPerSecond == 0) return std::to_string(ns / kNanosPerSecond) + "s";
    return std::to_string(ns / kNanosPerMilli) + "ms";
  }

  std::string_view field_;
  const json& value_;
  Problems* problems_;
};

struct Field {
  std::string_view name;
  void (*read)(FieldReader&, Manifest&);
};

constexpr Field kFields[] = {
    {"name", [](FieldReader& r, Manifest& m) { r.ServiceName(&m.name); }},
    {"description",
     [](FieldReader& r, Manifest& m) { r.String(kDescriptionBytesMax, &m.description); }},
    {"entry", [](FieldReader& r, Manifest& m) { r.Argv(&m.entry); }},
    {"jsEntry", [](FieldReader& r, Manifest& m) { r.File(&m.js_entry); }},
    {"pyEntry", [](FieldReader& r, Manifest& m) { r.File(&m.py_entry); }},
    {"build", [](FieldReader& r, Manifest& m) { r.Argv(&m.build); }},
    {"private", [](FieldReader& r, Manifest& m) { r.Bool(&m.is_private); }},
    {"shards", [](FieldReader& r, Manifest& m) { r.PowerOfTwo(kShardsMax, &m.shards); }},
    {"maxInstanceLoad",
     [](FieldReader& r, Manifest& m) { r.Load(kInstanceLoadMax, &m.max_instance_load); }},
    {"streamLoad", [](FieldReader& r, Manifest& m) { r.Load(kInstanceLoadMax, &m.stream_load); }},
    {"maxConcurrency",
     [](FieldReader& r, Manifest& m) { r.Integer(0, kConcurrencyMax, "", &m.max_concurrency); }},
    {"maxQueue", [](FieldReader& r, Manifest& m) { r.Integer(1, kQueueMax, "", &m.max_queue); }},
    {"minInstances",
     [](FieldReader& r, Manifest& m) { r.Integer(0, kInstancesMax, "", &m.min_instances); }},
    {"maxInstances",
     [](FieldReader& r, Manifest& m) { r.Integer(1, kInstancesMax, "", &m.max_instances); }},
    {"standby", [](FieldReader& r, Manifest& m) { r.Integer(0, kInstancesMax, "", &m.standby); }},
    {"ram", [](FieldReader& r, Manifest& m) { r.Integer(1, kRamMibMax, "MiB", &m.ram_mib); }},
    {"ramLimit",
     [](FieldReader& r, Manifest& m) { r.Integer(1, kRamLimitMibMax, "MiB", &m.ram_limit_mib); }},
    {"cpu", [](FieldReader& r, Manifest& m) { r.Cpu(&m.cpu_millis); }},
    {"maxProcesses",
     [](FieldReader& r, Manifest& m) {
       r.Integer(kProcessesMin, kProcessesMax, "", &m.max_processes);
     }},
    {"maxDescriptors",
     [](FieldReader& r, Manifest& m) {
       r.Integer(kDescriptorsMin, kDescriptorsMax, "", &m.max_descriptors);
     }},
    {"sandbox", [](FieldReader& r, Manifest& m) { r.Sandbox(&m.sandbox); }},
    {"network", [](FieldReader& r, Manifest& m) { r.Bool(&m.network); }},
    {"idleTimeout",
     [](FieldReader& r, Manifest& m) {
       r.Duration(kIdleTimeoutNsMin, kIdleTimeoutNsMax, &m.idle_timeout_ns);
     }},
    {"startTimeout",
     [](FieldReader& r, Manifest& m) {
       r.Duration(kStartTimeoutNsMin, kStartTimeoutNsMax, &m.start_timeout_ns);
     }},
    {"drainTimeout",
     [](FieldReader& r, Manifest& m) { r.Duration(0, kDrainTimeoutNsMax, &m.drain_timeout_ns); }},
    {"health", [](FieldReader& r, Manifest& m) { r.UnaryMethod(&m.health); }},
    {"watch", [](FieldReader& r, Manifest& m) { r.Duration(0, kWatchNsMax, &m.watch_ns); }},
    {"config", [](FieldReader& r, Manifest& m) { r.Json(&m.config_json); }},
};

// Fields that are settled and that this version cannot honour: accepting one would be a promise.
constexpr std::string_view kNotBuiltYet[] = {"closeTimeout", "stallTimeout"};

// Levenshtein distance without regard to case.
size_t Distance(std::string_view a, std::string_view b) {
  auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t replaced = diagonal + (lower(a[i - 1]) != lower(b[j - 1]));
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

void AddUnknown(const std::string& name, Problems* problems) {
  if (std::find(std::begin(kNotBuiltYet), std::end(kNotBuiltYet), name) != std::end(kNotBuiltYet)) {
    return problems->Add(Named(name) + " is not built yet in this version");
  }
  std::string line = "unknown field " + Named(name);
  // A name that is twice as long as any field is nobody's slip of the finger, and what is only
  // counted needs no advice.
  if (name.size() <= 32 && !problems->full()) {
    const Field* closest = std::min_element(
        std::begin(kFields), std::end(kFields), [&](const Field& a, const Field& b) {
          return Distance(name, a.name) < Distance(name, b.name);
        });
    size_t distance = Distance(name, closest->name);
    if (distance <= 3 && distance < closest->name.size()) {
      line.append("; did you mean ").append(Named(closest->name)).append("?");
    }
  }
  problems->Add(std::move(line));
}

// What holds between fields; `set` are the names in the text.
void CheckTogether(const std::set<std::string_view>& set, Manifest* manifest, Problems* problems) {
  if (!set.contains("name")) problems->Add("\"name\" is missing");
  if (set.contains("entry") + set.contains("jsEntry") + set.contains("pyEntry") > 1) {
    problems->Add("only one of \"entry\", \"jsEntry\" and \"pyEntry\" may be set");
  }
  if (set.contains("jsEntry") || set.contains("pyEntry")) manifest->entry.clear();
  if (manifest->min_instances > manifest->max_instances) {
    problems->Add("\"minInstances\" (" + std::to_string(manifest->min_instances) +
                  ") must not be above \"maxInstances\" (" +
                  std::to_string(manifest->max_instances) + ")");
  }
  if (manifest->standby > 0 &&
      manifest->min_instances + manifest->standby > manifest->max_instances) {
    problems->Add("\"minInstances\" (" + std::to_string(manifest->min_instances) +
                  ") and \"standby\" (" + std::to_string(manifest->standby) +
                  ") together must not be above \"maxInstances\" (" +
                  std::to_string(manifest->max_instances) + ")");
  }
  if (!set.contains("ramLimit")) {
    manifest->ram_limit_mib = std::max(4 * manifest->ram_mib, kRamLimitMibLeast);
  } else if (manifest->ram_limit_mib < manifest->ram_mib) {
    problems->Add("\"ramLimit\" (" + std::to_string(manifest->ram_limit_mib) +
                  ") must not be below \"ram\" (" + std::to_string(manifest->ram_mib) + ")");
  }
}

std::string Milliseconds(int64_t ns) { return std::to_string(ns / kNanosPerMilli) + "ms"; }

}  // namespace

StatusOr<int64_t> ParseDuration(std::string_view text) {
  struct Unit {
    std::string_view name;
    double milliseconds;
  };
  static constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1e3}, {"m", 60e3}, {"h", 3600e3}};
  Status wrong = InvalidArgument("not a duration: " + Named(text));
  size_t digits = text.find_first_not_of("0123456789.");
  if (digits == text.npos || digits == 0) return wrong;
  double number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
  if (error != std::errc() || end != text.data() + digits) return wrong;
  for (const Unit& unit : kUnits) {
    if (text.substr(digits) != unit.name) continue;
    double milliseconds = number * unit.milliseconds;
    if (milliseconds > 1e12) return wrong;  // 31 years; keeps the nanoseconds in their type
    return std::llround(milliseconds) * kNanosPerMilli;
  }
  return wrong;
}

StatusOr<Manifest> ParseManifest(std::string_view text) {
  Problems problems;
  if (text.size() > kManifestBytesMax) {
    problems.Add("has " + std::to_string(text.size()) + " bytes; at most " +
                 std::to_string(kManifestBytesMax) + " are allowed");
    return problems.ToStatus();
  }
  StructureCheck structure(text, &problems);
  json::sax_parse(text, &structure);
  LEVER_RETURN_IF_ERROR(problems.ToStatus());

  const json root = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!root.is_object()) {
    problems.Add("must hold an object, not " + Describe(root));
    return problems.ToStatus();
  }
  Manifest manifest;
  std::set<std::string_view> set;
  for (const auto& [name, value] : root.items()) {
    const Field* field = std::find_if(std::begin(kFields), std::end(kFields),
                                      [&](const Field& f) { return f.name == name; });
    if (field == std::end(kFields)) {
      AddUnknown(name, &problems);
      continue;
    }
    set.insert(field->name);
    FieldReader reader(field->name, value, &problems);
    field->read(reader, manifest);
  }
  CheckTogether(set, &manifest, &problems);
  LEVER_RETURN_IF_ERROR(problems.ToStatus());
  // "1e15" grows as it is written out; what is stored must be readable again.
  if (manifest.ToJson().size() > kManifestBytesMax) {
    problems.Add("\"config\" has numbers that take more than " + std::to_string(kManifestBytesMax) +
                 " bytes when written out");
    return problems.ToStatus();
  }
  return manifest;
}

std::string Manifest::ToJson() const {
  json out = {
      {"name", name},
      {"description", description},
      {"private", is_private},
      {"shards", shards},
      {"maxInstanceLoad", max_instance_load},
      {"streamLoad", stream_load},
      {"maxConcurrency", max_concurrency},
      {"maxQueue", max_queue},
      {"minInstances", min_instances},
      {"maxInstances", max_instances},
      {"standby", standby},
      {"ram", ram_mib},
      {"ramLimit", ram_limit_mib},
      {"cpu", static_cast<double>(cpu_millis) / 1000},
      {"maxProcesses", max_processes},
      {"maxDescriptors", max_descriptors},
      {"network", network},
      {"idleTimeout", Milliseconds(idle_timeout_ns)},
      {"startTimeout", Milliseconds(start_timeout_ns)},
      {"drainTimeout", Milliseconds(drain_timeout_ns)},
      {"watch", Milliseconds(watch_ns)},
      {"config", json::parse(config_json, nullptr, /*allow_exceptions=*/false)},
  };
  if (!js_entry.empty()) out["jsEntry"] = js_entry;
  if (!py_entry.empty()) out["pyEntry"] = py_entry;
  if (!entry.empty()) out["entry"] = entry;
  if (!health.empty()) out["health"] = health;
  if (!build.empty()) out["build"] = build;
  if (!sandbox.empty()) out["sandbox"] = sandbox;
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace lever::deploy
