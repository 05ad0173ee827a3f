// scale_sim [--quick] [--json FILE] [--svg FILE]: scaling policies side by side in the simulator of tests/sim.
// Prints a table for each scenario; the JSON has the same numbers, the SVG the frontiers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/frontier.h"

namespace {

using lever::sim::BetterRival;
using lever::sim::Outcome;
using lever::sim::Scenario;

constexpr uint64_t kSeed = 7;

struct Result {
  std::string name;
  std::string what;
  std::vector<Outcome> outcomes;
};

void Print(Result& result) {
  std::printf("\n### %s: %s\n\n", result.name.c_str(), result.what.c_str());
  std::printf("| policy | instance-s | over 100 ms | p99 wait, s | cold | starts/h | CPU of starts | held/needed |"
              " frontier |\n|---|---|---|---|---|---|---|---|---|\n");
  for (Outcome& outcome : result.outcomes) {
    auto& m = outcome.measures;
    const std::string better = outcome.own ? BetterRival(outcome, result.outcomes) : "";
    const std::string place = !outcome.own ? "" : better.empty() ? "on it" : "behind " + better;
    std::printf("| %s | %.0f | %.3f %% | %.3f | %.3f %% | %.1f | %.2f %% | %.2f | %s |\n",
                outcome.policy.c_str(), m.instance_s, 100 * m.OverGoal(), m.WaitP99(), 100 * m.Cold(),
                m.StartsAnHour(), 100 * m.StartCpu(), m.Held(), place.c_str());
  }
  std::fflush(stdout);
}

void WriteJson(const std::vector<Result>& results, const char* path) {
  std::ofstream out(path);
  out << "{";
  for (size_t i = 0; i < results.size(); ++i) {
    out << (i == 0 ? "" : ",") << "\n\"" << results[i].name << "\": {";
    for (size_t j = 0; j < results[i].outcomes.size(); ++j) {
      const Outcome& o = results[i].outcomes[j];
      out << (j == 0 ? "" : ", ") << "\"" << o.policy << "\": {\"instance_s\": " << o.measures.instance_s
          << ", \"over_goal\": " << o.measures.OverGoal() << ", \"better_rival\": \""
          << (o.own ? BetterRival(o, results[i].outcomes) : "") << "\"}";
    }
    out << "}";
  }
  out << "\n}\n";
}

// One panel: cost to the right, waiting upwards, both logarithmic. What is lower and to the left is better.
void WritePanel(const Result& result, double left, double top, std::ostream& out) {
  constexpr double kWidth = 300;
  constexpr double kHeight = 200;
  const auto cost = [](const Outcome& o) { return std::log10(o.measures.instance_s); };
  const auto wait = [](const Outcome& o) { return std::log10(std::max(1e-6, o.measures.OverGoal())); };
  double cost_least = 1e9, cost_most = -1e9, wait_least = 1e9, wait_most = -1e9;
  for (const Outcome& o : result.outcomes) {
    cost_least = std::min(cost_least, cost(o)), cost_most = std::max(cost_most, cost(o));
    wait_least = std::min(wait_least, wait(o)), wait_most = std::max(wait_most, wait(o));
  }
  out << "<rect x='" << left << "' y='" << top << "' width='" << kWidth << "' height='" << kHeight
      << "' fill='none' stroke='#999'/>\n<text x='" << left + 6 << "' y='" << top + 16
      << "' font-weight='bold'>" << result.name << "</text>\n";
  for (const Outcome& o : result.outcomes) {
    const double x = left + 20 + (kWidth - 100) * (cost(o) - cost_least) / std::max(1e-9, cost_most - cost_least);
    const double y = top + 35 + (kHeight - 50) * (wait_most - wait(o)) / std::max(1e-9, wait_most - wait_least);
    const char* colour = o.own ? "#c00" : "#369";
    out << "<circle cx='" << x << "' cy='" << y << "' r='4' fill='" << colour << "'/><text x='" << x + 7
        << "' y='" << y + 4 << "' fill='" << colour << "'>" << o.policy << "</text>\n";
  }
}

void WriteSvg(const std::vector<Result>& results, const char* path) {
  std::ofstream out(path);
  const size_t rows = (results.size() + 2) / 3;
  out << "<svg xmlns='http://www.w3.org/2000/svg' width='980' height='" << 30 + rows * 215
      << "' font-family='sans-serif' font-size='11'>\n<rect width='100%' height='100%' fill='white'/>\n"
      << "<text x='20' y='18'>to the right: instance-seconds; upwards: share of calls that waited more than "
         "100 ms (both logarithmic, each panel on its own scale). Lower and left is better.</text>\n";
  for (size_t i = 0; i < results.size(); ++i) {
    WritePanel(results[i], 20 + static_cast<double>(i % 3) * 315, 28 + static_cast<double>(i / 3) * 215, out);
  }
  out << "</svg>\n";
}

}  // namespace

int main(int argc, char** argv) {
  auto extent = lever::sim::Extent::kFull;
  const char* json = nullptr;
  const char* svg = nullptr;
  for (int i = 1; i < argc; ++i) {
    const bool value = i + 1 < argc;
    if (std::strcmp(argv[i], "--quick") == 0) {
      extent = lever::sim::Extent::kShort;
    } else if (std::strcmp(argv[i], "--json") == 0 && value) {
      json = argv[++i];
    } else if (std::strcmp(argv[i], "--svg") == 0 && value) {
      svg = argv[++i];
    } else {
      std::fprintf(stderr, "usage: scale_sim [--quick] [--json FILE] [--svg FILE]\n");
      return 2;
    }
  }
  std::vector<Result> results;
  for (const Scenario& scenario : lever::sim::MakeScenarios(extent, kSeed)) {
    results.push_back({scenario.name, scenario.what, lever::sim::RunAll(scenario, kSeed)});
    Print(results.back());
  }
  if (json != nullptr) WriteJson(results, json);
  if (svg != nullptr) WriteSvg(results, svg);
  return 0;
}
