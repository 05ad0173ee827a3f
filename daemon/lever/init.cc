// lever init DIR --lang LANGUAGE: a new service that deploys and answers at once.
#include <cerrno>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "daemon/lever/command.h"
#include "daemon/lever/installation.h"
#include "daemon/lever/output.h"
#include "daemon/lever/templates.h"
#include "liblever/policy/address.h"

namespace lever::cli {
namespace {

namespace fs = std::filesystem;

// What stands for what in templates.
using Words = std::vector<std::pair<std::string, std::string>>;

std::string Replaced(std::string text, const Words& words) {
  for (const auto& [word, value] : words) {
    for (size_t at = text.find(word); at != text.npos; at = text.find(word, at + value.size())) {
      text.replace(at, word.size(), value);
    }
  }
  return text;
}

Words WordsFor(const std::string& name) {
  std::string package = name;
  for (char& c : package) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return {{"{{name}}", name},
          {"{{package}}", package},  // npm's names have no capitals
          {"{{runtime}}", FindInstallation().runtime}};
}

StatusOr<std::string> ServiceName(const InitArguments& arguments) {
  if (!arguments.name.empty()) {
    LEVER_RETURN_IF_ERROR(policy::CheckService(arguments.name));
    return arguments.name;
  }
  std::error_code error;
  const fs::path path = fs::weakly_canonical(arguments.directory, error);
  const std::string name = path.filename().string();
  const Status status = policy::CheckService(name);
  if (status.ok()) return name;
  return InvalidArgument("the directory's name is not one for a service (" + status.message() +
                         "): --name gives it another");
}

Status CheckEmpty(const fs::path& directory) {
  std::error_code error;
  if (!fs::exists(fs::symlink_status(directory, error))) return Status::Ok();
  if (!fs::is_directory(directory, error)) {
    return AlreadyExists(directory.string() + " is not a directory");
  }
  const fs::directory_iterator entry(directory, error);
  if (error) return ErrnoStatus(error.value(), directory.string());
  if (entry == fs::directory_iterator()) return Status::Ok();
  return AlreadyExists(directory.string() + " is not empty (" +
                       entry->path().filename().string() + " is in it): nothing was written");
}

Status WriteFile(const fs::path& path, const std::string& content) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  if (error) return ErrnoStatus(error.value(), path.parent_path().string());
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  return file ? Status::Ok() : ErrnoStatus(errno == 0 ? EIO : errno, "write " + path.string());
}

// Of a directory that was empty, or not there: nothing of a failed attempt stays.
void TakeBack(const fs::path& directory, bool was_there) {
  std::error_code error;
  if (!was_there) {
    fs::remove_all(directory, error);
    return;
  }
  std::vector<fs::path> entries;
  for (const auto& entry : fs::directory_iterator(directory, error)) entries.push_back(entry.path());
  for (const fs::path& entry : entries) fs::remove_all(entry, error);
}

Status WriteService(const InitArguments& arguments, const std::string& name) {
  const fs::path directory(arguments.directory);
  LEVER_RETURN_IF_ERROR(CheckEmpty(directory));
  std::error_code error;
  const bool was_there = fs::exists(directory, error);
  const Words words = WordsFor(name);
  for (const TemplateFile& file : TemplateFiles()) {
    if (file.language != arguments.language) continue;
    const Status written =
        WriteFile(directory / file.path, Replaced(std::string(file.content), words));
    if (written.ok()) continue;
    TakeBack(directory, was_there);
    return written;
  }
  return Status::Ok();
}

// As the service's methods are called in its language.
std::string FirstMethod(const std::string& language) {
  if (language == "python") return "say_hello";
  return language == "go" ? "SayHello" : "sayHello";
}

Status Run(const Globals& globals, const InitArguments& arguments) {
  LEVER_ASSIGN_OR_RETURN(const std::string name, ServiceName(arguments));
  LEVER_RETURN_IF_ERROR(WriteService(arguments, name));
  const std::string& directory = arguments.directory;
  if (globals.format == Format::kJson) {
    return Print(R"({"service":")" + name + R"(","language":")" + arguments.language + "\"}\n");
  }
  return Print(Plain(directory) + ": the service " + name + ". What comes next:\n  lever test " +
               Plain(directory) + "\n  lever dev " + Plain(directory) +
               "        # and in another terminal:\n  lever invoke /" + name + "/" +
               FirstMethod(arguments.language) + " '\"Ann\"'\n");
}

}  // namespace

std::vector<std::string> TemplateLanguages() {
  std::vector<std::string> languages;
  for (const TemplateFile& file : TemplateFiles()) {
    if (languages.empty() || languages.back() != file.language) languages.emplace_back(file.language);
  }
  return languages;
}

int Init(const Globals& globals, const InitArguments& arguments) {
  return Report(globals, Run(globals, arguments));
}

}  // namespace lever::cli
