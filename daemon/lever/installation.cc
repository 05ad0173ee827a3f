#include "daemon/lever/installation.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace lever::cli {
namespace {

namespace fs = std::filesystem;

// What is there already comes behind `value`.
std::string Before(const std::string& name, const std::string& value, char separator) {
  const char* old = std::getenv(name.c_str());
  std::string text = name + "=" + value;
  if (old != nullptr && *old != '\0') text += separator + std::string(old);
  return text;
}

std::string UrlEncoded(const std::string& text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= 'a' && byte <= 'z') || c == '-' || c == '_' || c == '.' || c == '/';
    if (plain) {
      encoded += c;
    } else {
      encoded += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return encoded;
}

// NODE_PATH is for `require` alone. For `import`, what a program does not find itself is looked for from
// a file that lies beside our node_modules.
std::string ImportHook(const std::string& node) {
  const std::string hook =
      "export async function resolve(s,c,n){try{return await n(s,c)}catch(e){"
      "if(s!=='lever'&&!s.startsWith('lever/'))throw e;"
      "return n(s,{...c,parentURL:'file://" + UrlEncoded(node) + "/of-lever.mjs'})}}";
  const std::string program = "import{register}from'node:module';register('data:text/javascript," +
                              UrlEncoded(hook) + "')";
  return "--import=data:text/javascript," + UrlEncoded(program);
}

}  // namespace

Installation FindInstallation() {
  Installation installation;
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return installation;
  installation.programs = program.parent_path().string();
  installation.prefix = program.parent_path().parent_path().string();
  for (const char* candidate : {LEVER_LIBDIR "/lever/runtime", "lib/lever/runtime", "runtime"}) {
    const fs::path runtime = fs::canonical(fs::path(installation.prefix) / candidate, error);
    if (error) continue;
    installation.runtime = runtime.string();
    break;
  }
  return installation;
}

std::vector<std::string> BuildEnvironment(const Installation& installation) {
  return {Before("CMAKE_PREFIX_PATH", installation.prefix, ':'),
          Before("PKG_CONFIG_PATH", installation.prefix + "/" LEVER_LIBDIR "/pkgconfig", ':')};
}

std::vector<std::string> TestEnvironment(const Installation& installation) {
  std::vector<std::string> environment = BuildEnvironment(installation);
  if (installation.runtime.empty()) return environment;
  const std::string node = installation.runtime + "/node";
  environment.push_back(Before("NODE_PATH", node + "/node_modules", ':'));
  environment.push_back(Before("NODE_OPTIONS", ImportHook(node), ' '));
  environment.push_back(Before("PYTHONPATH", installation.runtime + "/python", ':'));
  return environment;
}

}  // namespace lever::cli
