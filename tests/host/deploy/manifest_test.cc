#include "liblever/host/deploy/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

namespace lever::deploy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Manifest Parsed(std::string_view text) {
  StatusOr<Manifest> manifest = ParseManifest(text);
  EXPECT_TRUE(manifest.ok()) << manifest.status().ToString();
  return manifest.ok() ? *manifest : Manifest{};
}

std::string Refusal(std::string_view text) {
  StatusOr<Manifest> manifest = ParseManifest(text);
  EXPECT_FALSE(manifest.ok()) << text;
  if (manifest.ok()) return "";
  EXPECT_EQ(manifest.status().code(), LEVER_INVALID_ARGUMENT);
  return manifest.status().message();
}

constexpr std::string_view kFull = R"({
  "name": "hello-World9",
  "description": "says hello",
  "entry": ["./serve", "--fast", ""],
  "build": ["make", "-j2"],
  "private": true,
  "shards": 1024,
  "maxInstanceLoad": 2.5,
  "maxConcurrency": 100,
  "maxQueue": 50,
  "minInstances": 1,
  "maxInstances": 7,
  "standby": 6,
  "streamLoad": 0.5,
  "ram": 100,
  "ramLimit": 300,
  "cpu": 0.25,
  "maxProcesses": 64,
  "maxDescriptors": 1000,
  "sandbox": "bwrap",
  "network": true,
  "idleTimeout": "5m",
  "startTimeout": 1.5,
  "drainTimeout": "250ms",
  "config": {"deep": [1, 2.0, {"x": null}], "big": 18446744073709551615, "ä": "\u00e4"}
})";

TEST(Manifest, DefaultsHoldWhereOnlyTheNameIsGiven) {
  Manifest m = Parsed(R"({"name": "hello"})");
  EXPECT_EQ(m.name, "hello");
  EXPECT_EQ(m.description, "");
  EXPECT_THAT(m.entry, ElementsAre("./serve"));
  EXPECT_EQ(m.js_entry, "");
  EXPECT_EQ(m.py_entry, "");
  EXPECT_THAT(m.build, IsEmpty());
  EXPECT_FALSE(m.is_private);
  EXPECT_EQ(m.shards, 256);
  EXPECT_EQ(m.max_instance_load, 10);
  EXPECT_EQ(m.stream_load, 0.1);
  EXPECT_EQ(m.max_concurrency, 0);
  EXPECT_EQ(m.max_queue, 10'000);
  EXPECT_EQ(m.min_instances, 0);
  EXPECT_EQ(m.max_instances, 100);
  EXPECT_EQ(m.standby, 0);
  EXPECT_EQ(m.ram_mib, 50);
  EXPECT_EQ(m.ram_limit_mib, 256);
  EXPECT_EQ(m.cpu_millis, 0);
  EXPECT_EQ(m.max_processes, 1024);
  EXPECT_EQ(m.max_descriptors, 65536);
  EXPECT_EQ(m.sandbox, "");
  EXPECT_FALSE(m.network);
  EXPECT_EQ(m.idle_timeout_ns, 300 * kNanosPerSecond);
  EXPECT_EQ(m.start_timeout_ns, 30 * kNanosPerSecond);
  EXPECT_EQ(m.drain_timeout_ns, 30 * kNanosPerSecond);
  EXPECT_EQ(m.config_json, "null");
}

TEST(Manifest, EveryFieldIsRead) {
  Manifest m = Parsed(kFull);
  EXPECT_EQ(m.name, "hello-World9");
  EXPECT_EQ(m.description, "says hello");
  EXPECT_THAT(m.entry, ElementsAre("./serve", "--fast", ""));
  EXPECT_THAT(m.build, ElementsAre("make", "-j2"));
  EXPECT_TRUE(m.is_private);
  EXPECT_EQ(m.shards, 1024);
  EXPECT_EQ(m.max_instance_load, 2.5);
  EXPECT_EQ(m.max_concurrency, 100);
  EXPECT_EQ(m.max_queue, 50);
  EXPECT_EQ(m.min_instances, 1);
  EXPECT_EQ(m.max_instances, 7);
  EXPECT_EQ(m.standby, 6);
  EXPECT_EQ(m.stream_load, 0.5);
  EXPECT_EQ(m.ram_mib, 100);
  EXPECT_EQ(m.ram_limit_mib, 300);
  EXPECT_EQ(m.cpu_millis, 250);
  EXPECT_EQ(m.max_processes, 64);
  EXPECT_EQ(m.max_descriptors, 1000);
  EXPECT_EQ(m.sandbox, "bwrap");
  EXPECT_TRUE(m.network);
  EXPECT_EQ(m.idle_timeout_ns, 300 * kNanosPerSecond);
  EXPECT_EQ(m.start_timeout_ns, 1500 * kNanosPerMilli);
  EXPECT_EQ(m.drain_timeout_ns, 250 * kNanosPerMilli);
  EXPECT_EQ(m.config_json,
            "{\"big\":18446744073709551615,\"deep\":[1,2.0,{\"x\":null}],\"ä\":\"ä\"}");
}

TEST(Manifest, CanonicalFormReadsBackTheSame) {
  for (std::string_view text :
       {kFull, std::string_view(R"({"name":"a"})"),
        std::string_view(R"({"name":"a","jsEntry":"s.js"})"),
        std::string_view(R"({"name":"a","pyEntry":"lib/s.py","config":-0.0,"ram":1048576})")}) {
    std::string canonical = Parsed(text).ToJson();
    Manifest again = Parsed(canonical);
    EXPECT_EQ(again.ToJson(), canonical);
    EXPECT_EQ(canonical.find('\n'), std::string::npos);
  }
}

TEST(Manifest, AJsOrPyEntryReplacesTheDefaultProgram) {
  Manifest js = Parsed(R"({"name":"a","jsEntry":"service.js"})");
  EXPECT_EQ(js.js_entry, "service.js");
  EXPECT_THAT(js.entry, IsEmpty());
  Manifest py = Parsed(R"({"name":"a","pyEntry":"./service.py"})");
  EXPECT_EQ(py.py_entry, "./service.py");
  EXPECT_THAT(py.entry, IsEmpty());
}

TEST(Manifest, OnlyOneEntryMayBeSet) {
  EXPECT_EQ(Refusal(R"({"name":"a","jsEntry":"a.js","pyEntry":"a.py"})"),
            "lever.json: only one of \"entry\", \"jsEntry\" and \"pyEntry\" may be set");
}

TEST(Manifest, RamLimitFollowsRamAndNeverLiesBelowIt) {
  EXPECT_EQ(Parsed(R"({"name":"a","ram":100})").ram_limit_mib, 400);
  EXPECT_EQ(Parsed(R"({"name":"a","ram":10})").ram_limit_mib, 256);
  EXPECT_THAT(Refusal(R"({"name":"a","ram":100,"ramLimit":99})"),
              HasSubstr("\"ramLimit\" (99) must not be below \"ram\" (100)"));
}

TEST(Manifest, AMissingNameIsNamed) { EXPECT_EQ(Refusal("{}"), "lever.json: \"name\" is missing"); }

TEST(Manifest, UnknownFieldsAreNamedWithTheClosestKnownOne) {
  EXPECT_EQ(Refusal(R"({"name":"a","idletimeout":1})"),
            "lever.json: unknown field \"idletimeout\"; did you mean \"idleTimeout\"?");
  EXPECT_EQ(Refusal(R"({"name":"a","maxInstance":1})"),
            "lever.json: unknown field \"maxInstance\"; did you mean \"maxInstances\"?");
  EXPECT_EQ(Refusal(R"({"name":"a","zzzzzzzzzz":1})"), "lever.json: unknown field \"zzzzzzzzzz\"");
  EXPECT_EQ(Refusal("{\"name\":\"a\",\"" + std::string(1000, 'x') + "\":1}"),
            "lever.json: unknown field \"" + std::string(64, 'x') + "...\"");
}

TEST(Manifest, FieldsOfLaterVersionsAreRefusedAsNotBuiltYet) {
  for (std::string name : {"stallTimeout", "closeTimeout"}) {
    EXPECT_EQ(Refusal("{\"name\":\"a\",\"" + name + "\":1}"),
              "lever.json: \"" + name + "\" is not built yet in this version");
  }
}

TEST(Manifest, AllProblemsAreReportedTogetherOneLineEach) {
  EXPECT_EQ(
      Refusal(R"({"entry":"./serve","private":"yes","ram":-1,"rom":5,"shards":3})"),
      "lever.json: \"entry\" must be an array of a program and its arguments, 1 to 256 strings, "
      "not \"./serve\"\n"
      "lever.json: \"private\" must be true or false, not \"yes\"\n"
      "lever.json: \"ram\" must be a whole number of MiB from 1 to 1048576, not -1\n"
      "lever.json: unknown field \"rom\"; did you mean \"ram\"?\n"
      "lever.json: \"shards\" must be a power of two from 1 to 65536, not 3\n"
      "lever.json: \"name\" is missing");
}

TEST(Manifest, TheListOfProblemsIsBounded) {
  std::string text = "{";
  for (int i = 0; i < 20000; ++i) text += "\"bad" + std::to_string(i) + "\":1,";
  text += "\"name\":\"a\"}";
  std::string message = Refusal(text);
  EXPECT_THAT(message, HasSubstr("lever.json: and 19980 more"));
  EXPECT_LT(message.size(), 4096u);
}

TEST(Manifest, MistypedAndOutOfRangeValuesAreNamedWithWhatWasWanted) {
  struct Case {
    const char* member;
    const char* wanted;
  };
  const Case cases[] = {
      {R"("name": "Hello")", "letters, digits and hyphens"},
      {R"("name": "a.b")", "letters, digits and hyphens"},
      {R"("name": "")", "letters, digits and hyphens"},
      {R"("name": 5)", "not 5"},
      {R"("description": ["a"])", "not an array"},
      {R"("entry": [])", "an array of a program"},
      {R"("entry": [""])", "an array of a program"},
      {R"("entry": ["a", 1])", "an array of a program"},
      {R"("entry": ["a\u0000b"])", "an array of a program"},
      {R"("entry": {"a": 1})", "not an object"},
      {R"("build": "make")", "an array of a program"},
      {R"("jsEntry": "")", "path of a file"},
      {R"("jsEntry": "/etc/x.js")", "without '..'"},
      {R"("jsEntry": "a/../../x.js")", "without '..'"},
      {R"("pyEntry": "..")", "without '..'"},
      {R"("pyEntry": null)", "not null"},
      {R"("private": 1)", "true or false"},
      {R"("shards": 0)", "power of two"},
      {R"("shards": 131072)", "power of two"},
      {R"("shards": -9223372036854775808)", "power of two"},
      {R"("shards": 2.0)", "power of two"},
      {R"("maxInstanceLoad": 0)", "above 0"},
      {R"("maxInstanceLoad": "10")", "above 0"},
      {R"("maxConcurrency": -1)", "from 0 to 1000000"},
      {R"("maxConcurrency": 1.5)", "from 0 to 1000000"},
      {R"("maxQueue": 0)", "from 1 to 100000"},
      {R"("minInstances": -1)", "from 0 to 10000"},
      {R"("minInstances": 3, "maxInstances": 2)", "must not be above"},
      {R"("streamLoad": 0)", "above 0"},
      {R"("maxInstances": 0)", "from 1 to 10000"},
      {R"("standby": -1)", "from 0 to 10000"},
      {R"("standby": true)", "from 0 to 10000"},
      {R"("minInstances": 2, "standby": 2, "maxInstances": 3)",
       "\"minInstances\" (2) and \"standby\" (2) together must not be above \"maxInstances\" (3)"},
      {R"("ram": 18446744073709551615)", "MiB"},
      {R"("ramLimit": true)", "MiB"},
      {R"("cpu": 0.009)", "a number of cores from 0.01 to 1024, or 0"},
      {R"("cpu": 1025)", "a number of cores from 0.01 to 1024, or 0"},
      {R"("cpu": "1")", "a number of cores"},
      {R"("sandbox": "docker")", "\"bwrap\" or \"none\""},
      {R"("sandbox": null)", "\"bwrap\" or \"none\""},
      {R"("network": "yes")", "true or false"},
      {R"("maxProcesses": 15)", "from 16 to 1000000"},
      {R"("maxDescriptors": 63)", "from 64 to 65536"},
      {R"("idleTimeout": 0)", "from 100ms to 2592000s"},
      {R"("idleTimeout": "5 m")", "\"5m\""},
      {R"("startTimeout": "11m")", "from 100ms to 600s"},
      {R"("drainTimeout": -1)", "from 0s to 3600s"},
      {R"("drainTimeout": 1e300)", "from 0s to 3600s"},
  };
  for (const Case& c : cases) {
    bool is_name = std::string_view(c.member).starts_with("\"name\"");
    std::string text = std::string("{") + (is_name ? "" : "\"name\":\"a\",") + c.member + "}";
    EXPECT_THAT(Refusal(text), HasSubstr(c.wanted)) << text;
  }
}

TEST(Manifest, RepeatedFieldsAreRefusedAtAnyDepth) {
  EXPECT_EQ(Refusal(R"({"name":"a","name":"b"})"), "lever.json: repeated field \"name\"");
  EXPECT_EQ(Refusal(R"({"name":"a","config":[{"k":1,"k":1}]})"),
            "lever.json: repeated field \"k\"");
  Parsed(R"({"name":"a","config":[{"k":1},{"k":1,"name":{"k":2}}]})");
}

TEST(Manifest, IntegersThatDoNotFitAreRefusedAndNotRounded) {
  EXPECT_EQ(Refusal(R"({"name":"a","config":18446744073709551616})"),
            "lever.json: the integer \"18446744073709551616\" does not fit in 64 bits");
  EXPECT_EQ(Parsed(R"({"name":"a","config":-9223372036854775808})").config_json,
            "-9223372036854775808");
}

TEST(Manifest, BrokenJsonIsNamedByLineAndColumn) {
  EXPECT_EQ(Refusal("{\n  \"name\": \"a\",\n  oops\n}"),
            "lever.json: not valid JSON at line 3, column 3: invalid literal");
  EXPECT_THAT(Refusal(""), HasSubstr("line 1, column 1: unexpected end of input"));
  EXPECT_THAT(Refusal("{\"name\":\"a\"} x"), HasSubstr("not valid JSON at line 1, column 14"));
  EXPECT_THAT(Refusal("{\"name\":\"\xff\"}"), HasSubstr("ill-formed UTF-8"));
  EXPECT_THAT(Refusal(R"({"name":"a","config":1e999})"), HasSubstr("a number that is too large"));
  EXPECT_THAT(Refusal("[1]"), HasSubstr("must hold an object, not an array"));
  // A token of any length is not repeated to the user.
  EXPECT_LT(Refusal("{\"name\":\"" + std::string(100000, 'x')).size(), 300u);
}

TEST(Manifest, DepthIsBoundedBeforeAnythingRecurses) {
  auto nested = [](int depth) {
    return "{\"name\":\"a\",\"config\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  Parsed(nested(kManifestDepthMax - 1));
  EXPECT_THAT(Refusal(nested(kManifestDepthMax)), HasSubstr("nested more than 64 deep"));
  EXPECT_THAT(Refusal(std::string(200000, '[')), HasSubstr("nested more than 64 deep"));
}

TEST(Manifest, SizeIsBounded) {
  std::string padding(kManifestBytesMax, ' ');
  EXPECT_THAT(Refusal("{\"name\":\"a\"}" + padding), HasSubstr("at most 262144"));
  // Within the bound as text, far beyond it once the numbers are written out.
  std::string numbers = "{\"name\":\"a\",\"config\":[1e15";
  while (numbers.size() < kManifestBytesMax - 16) numbers += ",1e15";
  EXPECT_THAT(Refusal(numbers + "]}"), HasSubstr("when written out"));
}

TEST(Manifest, DurationsAreReadInMilliseconds) {
  EXPECT_EQ(*ParseDuration("250ms"), 250 * kNanosPerMilli);
  EXPECT_EQ(*ParseDuration("1.5s"), 1500 * kNanosPerMilli);
  EXPECT_EQ(*ParseDuration("1.1s"), 1100 * kNanosPerMilli);
  EXPECT_EQ(*ParseDuration("5m"), 300 * kNanosPerSecond);
  EXPECT_EQ(*ParseDuration("2h"), 7200 * kNanosPerSecond);
  EXPECT_EQ(*ParseDuration("0s"), 0);
  for (std::string_view bad : {"", "s", "5", "5 s", "-1s", "1e3s", "1.2.3s", "inf", "nans", ".s",
                               "5d", "5S", "5ss", "99999999999999999999h"}) {
    EXPECT_FALSE(ParseDuration(bad).ok()) << bad;
  }
}

// A change of the text at seeded places: flipped, dropped, doubled, spliced and cut bytes.
std::string Mutated(std::string text, std::mt19937& random) {
  static constexpr std::string_view kPieces[] = {
      "{",     "}", "[",       "]",       "\"",   ",",    ":",        "null",
      "1e999", "-", "\\u0000", "\\ud800", "\xff", "\x00", "999999999"};
  auto pick = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  for (size_t changes = 1 + pick(4); changes > 0 && !text.empty(); --changes) {
    size_t at = pick(text.size());
    switch (pick(6)) {
      case 0:
        text[at] = static_cast<char>(pick(256));
        break;
      case 1:
        text.erase(at, 1 + pick(8));
        break;
      case 2:
        text.insert(at, kPieces[pick(std::size(kPieces))]);
        break;
      case 3:
        text.insert(at, text.substr(pick(text.size()), 1 + pick(40)));
        break;
      case 4:
        text.resize(at);
        break;
      case 5:
        text.insert(at, std::string(1 + pick(300), "[{\"9"[pick(4)]));
        break;
    }
  }
  return text;
}

TEST(Manifest, TenThousandMutatedFilesAreReadOrRefusedWithALine) {
  constexpr unsigned kSeed = 20240607;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937 random(kSeed);
  int accepted = 0;
  int refused = 0;
  for (int i = 0; i < 10000; ++i) {
    std::string text = Mutated(std::string(kFull), random);
    StatusOr<Manifest> manifest = ParseManifest(text);
    if (manifest.ok()) {
      ++accepted;
      std::string canonical = manifest->ToJson();
      StatusOr<Manifest> again = ParseManifest(canonical);
      ASSERT_TRUE(again.ok()) << again.status().ToString() << "\n" << text;
      ASSERT_EQ(again->ToJson(), canonical) << text;
    } else {
      ++refused;
      ASSERT_EQ(manifest.status().code(), LEVER_INVALID_ARGUMENT);
      ASSERT_TRUE(manifest.status().message().starts_with("lever.json: ")) << text;
      ASSERT_LT(manifest.status().message().size(), 8192u);
    }
  }
  // The mutations are of both kinds, or the loop would show little.
  EXPECT_GT(accepted, 100);
  EXPECT_GT(refused, 5000);
}

}  // namespace
}  // namespace lever::deploy
