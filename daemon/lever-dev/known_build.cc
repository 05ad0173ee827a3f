#include "daemon/lever-dev/known_build.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

namespace lever::cli {
namespace {

std::optional<std::string> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

bool IsOneOf(std::string_view text, std::initializer_list<std::string_view> list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

// Whether `npm ci` depends on package.json and the lock alone: it runs these scripts of the package's own,
// and a dependency may be a folder.
bool InstallsOnlyWhatIsLocked(const std::string& package_json) {
  const auto package = nlohmann::json::parse(package_json, nullptr, false);
  if (!package.is_object() || package.contains("workspaces")) return false;
  if (const auto scripts = package.find("scripts"); scripts != package.end()) {
    for (const char* name : {"preinstall", "install", "postinstall", "prepublish", "preprepare",
                             "prepare", "postprepare"}) {
      if (scripts->contains(name)) return false;
    }
  }
  for (const char* kind : {"dependencies", "devDependencies", "optionalDependencies"}) {
    const auto list = package.find(kind);
    if (list == package.end()) continue;
    for (const auto& version : *list) {
      if (!version.is_string()) return false;
      const std::string text = version.get<std::string>();
      if (text.find('/') != text.npos || text.starts_with("file:") || text.starts_with("link:")) {
        return false;
      }
    }
  }
  return true;
}

std::optional<KnownBuild> NpmBuild(const std::vector<std::string>& argv,
                                   const std::string& directory) {
  for (size_t i = 2; i < argv.size(); ++i) {
    if (!IsOneOf(argv[i], {"--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--silent",
                           "--no-update-notifier", "--loglevel=error"})) {
      return std::nullopt;
    }
  }
  const std::optional<std::string> package = ReadAll(directory + "/package.json");
  if (!package || !InstallsOnlyWhatIsLocked(*package)) return std::nullopt;
  return KnownBuild{{"package.json", "package-lock.json", "npm-shrinkwrap.json", ".npmrc"},
                    "node_modules"};
}

// A path below the directory as TreeState has it; nullopt for every other.
std::optional<std::string> PathInTree(const std::string& path) {
  std::string normal = std::filesystem::path(path).lexically_normal().string();
  if (normal.ends_with('/')) normal.pop_back();
  if (normal.empty() || normal == "." || normal[0] == '/') return std::nullopt;
  if (normal == ".." || normal.starts_with("../")) return std::nullopt;
  return normal;
}

// Whether all requirements of the file are names, not paths, addresses or further files.
bool ListsOnlyNames(const std::string& requirements) {
  std::string_view text = requirements;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    if (line.empty() || line[0] == '#') continue;
    if (line[0] == '-' || line[0] == '.' || line.find('/') != line.npos) return false;
  }
  return true;
}

std::optional<KnownBuild> PipBuild(const std::vector<std::string>& argv, size_t at,
                                   const std::string& directory) {
  KnownBuild build;
  for (; at < argv.size(); ++at) {
    const std::string& word = argv[at];
    if (IsOneOf(word, {"--quiet", "-q", "--disable-pip-version-check", "--upgrade", "-U",
                       "--no-cache-dir", "--no-input", "--root-user-action=ignore"})) {
      continue;
    }
    const bool is_list = IsOneOf(word, {"--requirement", "-r"});
    if ((!is_list && !IsOneOf(word, {"--target", "-t"})) || ++at == argv.size()) return std::nullopt;
    const std::optional<std::string> path = PathInTree(argv[at]);
    if (!path) return std::nullopt;
    if (is_list) {
      const std::optional<std::string> list = ReadAll(directory + "/" + *path);
      if (!list || !ListsOnlyNames(*list)) return std::nullopt;
      build.inputs.insert(*path);
    } else {
      build.output = *path;
    }
  }
  if (build.inputs.empty() || build.output.empty()) return std::nullopt;
  return build;
}

}  // namespace

bool KnownBuild::Affected(const TreeState& before, const TreeState& after) const {
  const std::vector<std::string> changed = ChangedPaths(before, after);
  return std::any_of(changed.begin(), changed.end(), [this](const std::string& path) {
    return inputs.contains(path) || path == output || path.starts_with(output + "/");
  });
}

std::optional<KnownBuild> KnownBuildOf(const std::vector<std::string>& argv,
                                       const std::string& directory) {
  if (argv.size() >= 2 && argv[0] == "npm" && argv[1] == "ci") return NpmBuild(argv, directory);
  const bool is_module = argv.size() >= 4 && IsOneOf(argv[0], {"python3", "python"}) &&
                         argv[1] == "-m" && argv[2] == "pip" && argv[3] == "install";
  if (is_module) return PipBuild(argv, 4, directory);
  if (argv.size() >= 2 && IsOneOf(argv[0], {"pip", "pip3"}) && argv[1] == "install") {
    return PipBuild(argv, 2, directory);
  }
  return std::nullopt;
}

}  // namespace lever::cli
