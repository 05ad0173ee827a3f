// The files of a new service, by language: those of daemon/lever/templates, as the build put them into
// the program (templates.cmake).
#ifndef DAEMON_LEVER_TEMPLATES_H_
#define DAEMON_LEVER_TEMPLATES_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lever::cli {

struct TemplateFile {
  std::string_view language;
  std::string_view path;  // in the service's directory
  // With {{name}} and others in it, see init.cc.
  std::string_view content;
};

std::span<const TemplateFile> TemplateFiles();
// The languages that there are files of.
std::vector<std::string> TemplateLanguages();

}  // namespace lever::cli

#endif  // DAEMON_LEVER_TEMPLATES_H_
