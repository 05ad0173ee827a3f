#include "daemon/lever/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <string_view>

#include "daemon/lever/templates.h"
#include "liblever/policy/address.h"

namespace lever::cli {
namespace {

constexpr char kExitCodes[] =
    "Exit codes: 0 done; 1 the method's own error (its value is on standard error);\n"
    "2 usage; 3 not found; 4 unavailable; 5 deadline exceeded; 6 refused by a limit\n"
    "or by permission; 7 internal; 130 cancelled.";

CLI::App* AddCommand(CLI::App& app, const std::string& name, const std::string& help,
                     CommandLine* line, Command command) {
  CLI::App* added = app.add_subcommand(name, help);
  added->callback([line, command] { line->command = command; });
  // --host, --env and --json may stand behind the command as well.
  added->fallthrough();
  return added;
}

void AddCallOptions(CLI::App* command, CallArguments* arguments) {
  command
      ->add_option("ADDRESS", arguments->address,
                   "/<service>/<method>, or lever://<environment>/<service>/<method>")
      ->required();
  command->add_option("JSON", arguments->json, "the method's arguments, each of them JSON");
  command->add_option("--timeout", arguments->timeout,
                      "5s, 250ms, 2m; by default 60s for a call and none for a stream");
}

void AddWriterCommands(CLI::App& app, CommandLine* line) {
  CLI::App* init = AddCommand(app, "init", "writes a new service into an empty directory", line,
                              Command::kInit);
  init->add_option("DIR", line->init.directory, "the directory, made if it is not there")
      ->required();
  init->add_option("--lang", line->init.language, "the language")
      ->required()
      ->check(CLI::IsMember(TemplateLanguages()));
  init->add_option("--name", line->init.name, "the service's name (default: the directory's)");

  CLI::App* test = AddCommand(app, "test",
                              "runs a service's own tests by its language's command, with the Lever "
                              "packages of this installation",
                              line, Command::kTest);
  test->add_option("DIR", line->test.directory, "the directory with lever.json (default: .)");
  test->footer("What stands behind -- is handed to that command.");

  CLI::App* dev = AddCommand(app, "dev",
                             "runs a host, deploys directories to it and again whenever they "
                             "change, and shows what the services print",
                             line, Command::kDev);
  dev->add_option("DIR", line->dev.directories, "directories with lever.json (default: .)");
  dev->add_option("--listen", line->dev.listen,
                  "HOST:PORT or unix:PATH to listen on (default: 127.0.0.1:8080, or a free port if "
                  "that is taken)");
  dev->add_option("--data", line->dev.data_dir,
                  "where the host keeps its data (default: a temporary directory)");
  dev->add_option("--upstream", line->dev.upstreams,
                  "SERVICE=ENDPOINT: pass gRPC calls of that service on (several times for several)");
}

void AddOwnersCommand(CLI::App& app, CommandLine* line) {
  CLI::App* owners = AddCommand(app, "resources", "shows which instances have a service's resources",
                                line, Command::kListOwners);
  owners->add_option("SERVICE", line->owners.service, "its name")->required();
  owners->add_option("--of", line->owners.resource, "NAME: who has this one");
}

void AddOwnerChangeCommands(CLI::App& app, CommandLine* line) {
  CLI::App* resource = app.add_subcommand(
      "resource", "moves, closes, pauses and resumes a resource, with all others of its shard");
  resource->fallthrough()->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, Command command) {
    CLI::App* added = AddCommand(*resource, name, help, line, command);
    added->add_option("SERVICE", line->owner_change.service, "the service's name")->required();
    added->add_option("NAME", line->owner_change.resource, "the resource's name")->required();
    return added;
  };
  add("move", "gives it to another instance", Command::kMoveResource)
      ->add_option("INSTANCE", line->owner_change.instance,
                   "who gets it (default: the one that owns least beside its owner)");
  add("close", "has its owner close it; the next call opens it again", Command::kCloseResource);
  add("pause", "has its owner close it, and nobody open it until it is resumed: calls wait",
      Command::kPauseResource);
  add("resume", "lets it be opened again", Command::kResumeResource);
}

void AddVersionCommands(CLI::App& app, CommandLine* line) {
  AddCommand(app, "versions", "lists the versions of a service that are kept", line,
             Command::kListVersions)
      ->add_option("SERVICE", line->service, "its name")
      ->required();
  CLI::App* rollback = AddCommand(app, "rollback",
                                  "goes back to an earlier version, with what it "
                                  "was set to",
                                  line, Command::kRollback);
  rollback->add_option("SERVICE", line->rollback.service, "its name")->required();
  rollback->add_option("VERSION", line->rollback.version,
                       "its number (default: a canary is given up; without one, the highest below "
                       "the current one)");
  AddCommand(app, "promote", "lets the canary take over", line, Command::kPromote)
      ->add_option("SERVICE", line->service, "its name")
      ->required();
}

void AddSettingsCommand(CLI::App* parent, const char* name, const char* help, CommandLine* line,
                        Command command, const char* names, const char* names_help) {
  CLI::App* added = AddCommand(*parent, name, help, line, command);
  added->add_option("SERVICE", line->settings.service, "its name")->required();
  if (names == nullptr) return;
  auto* option = added->add_option(names, line->settings.names, names_help)->required();
  if (command == Command::kGetConfig || command == Command::kSetSecret) option->expected(1);
}

void AddSettingsCommands(CLI::App& app, CommandLine* line) {
  CLI::App* config = app.add_subcommand("config", "sets and shows a service's configuration");
  config->fallthrough()->require_subcommand(1);
  AddSettingsCommand(config, "set", "lays values over `config` of its lever.json", line,
                     Command::kSetConfig, "SETTING",
                     "KEY=VALUE each; a value is JSON, or else a text");
  AddSettingsCommand(config, "get", "prints one value, as JSON", line, Command::kGetConfig, "KEY",
                     "its name");
  AddSettingsCommand(config, "list", "shows all of it", line, Command::kListConfig, nullptr,
                     nullptr);
  AddSettingsCommand(config, "unset", "takes back what was set", line, Command::kUnsetConfig, "KEY",
                     "the names");

  CLI::App* secret = app.add_subcommand("secret", "sets a service's secrets");
  secret->fallthrough()->require_subcommand(1);
  AddSettingsCommand(
      secret, "set",
      "sets one to what comes on standard input, or is typed, without its last line's "
      "end",
      line, Command::kSetSecret, "KEY", "its name");
  AddSettingsCommand(secret, "list", "shows their names", line, Command::kListSecrets, nullptr,
                     nullptr);
  AddSettingsCommand(secret, "unset", "removes secrets", line, Command::kUnsetSecret, "KEY",
                     "the names");
}

void AddEnvironmentCommands(CLI::App& app, CommandLine* line) {
  CLI::App* env = app.add_subcommand("env", "makes, lists and removes environments");
  env->fallthrough()->require_subcommand(1);
  CLI::App* create =
      AddCommand(*env, "create", "makes an environment", line, Command::kCreateEnvironment);
  create->add_option("NAME", line->environment.name, "its name")->required();
  create->add_option("--copy-from", line->environment.copy_from,
                     "another environment, whose services are deployed to it as they are");
  AddCommand(*env, "list", "lists environments", line, Command::kListEnvironments);
  CLI::App* remove =
      AddCommand(*env, "delete", "removes an environment", line, Command::kDeleteEnvironment);
  remove->add_option("NAME", line->environment.name, "its name")->required();
  remove->add_flag("--force", line->environment.force, "and the services in it");
}

void AddCommands(CLI::App& app, CommandLine* line) {
  CLI::App* deploy = AddCommand(app, "deploy", "builds, packs and uploads a service's directory",
                                line, Command::kDeploy);
  deploy->add_option("DIR", line->deploy.directory, "the directory with lever.json (default: .)");
  deploy->add_flag("-d,--detach", line->deploy.detach,
                   "does not wait while the host watches the new version");
  CLI::Option* canary = deploy->add_option(
      "--canary", line->deploy.canary,
      "SHARE, as in 10%: the version gets so much of the calls beside the one that serves, until "
      "`lever promote` or `lever rollback`");
  deploy->add_flag("--sticky", line->deploy.sticky,
                   "with --canary: each caller stays with one of the two versions")
      ->needs(canary);

  AddWriterCommands(app, line);

  CLI::App* invoke = AddCommand(app, "invoke", "calls a method", line, Command::kInvoke);
  AddCallOptions(invoke, &line->call);
  invoke->add_flag(
      "--bytes", line->call.bytes,
      "standard input is the one argument, as bytes; a result of bytes comes as it is");

  AddCallOptions(AddCommand(app, "stream",
                            "calls a streaming method: each line of standard input is a message, "
                            "as JSON, and so is each line of output",
                            line, Command::kStream),
                 &line->call);

  CLI::App* logs = AddCommand(app, "logs", "shows what services print", line, Command::kLogs);
  logs->add_option("SERVICE", line->logs.service, "this one only");
  logs->add_flag("-f,--follow", line->logs.follow, "goes on with what comes");
  logs->add_option("--tail", line->logs.tail,
                   "so many of the last lines (default: 100, or with --since all)");
  logs->add_option("--since", line->logs.since,
                   "lines of the last 30s, 10m, 2h or 1d, or from a time on: 2026-11-24T22:16:45Z; "
                   "without Z, local time");
  logs->add_option("--grep", line->logs.grep,
                   "lines that match this regular expression (RE2; (?i) for any case)");

  AddCommand(app, "ps", "lists instances", line, Command::kListInstances)
      ->add_option("SERVICE", line->service, "those of this one only");
  AddCommand(app, "ls", "lists services", line, Command::kListServices);
  AddCommand(app, "rm", "removes a service", line, Command::kRemove)
      ->add_option("SERVICE", line->service, "its name")
      ->required();
  AddOwnersCommand(app, line);
  AddOwnerChangeCommands(app, line);
  AddVersionCommands(app, line);
  AddSettingsCommands(app, line);
  AddEnvironmentCommands(app, line);
  AddCommand(app, "version", "prints the version", line, Command::kVersion);
}

// CLI11 would take -1 for a flag, and [1,2] for a list of its own: a blank before them, which JSON
// allows, keeps it from that. Only arguments of a call can be JSON.
void ProtectJson(std::vector<std::string>* arguments) {
  const auto is_call = [](const std::string& text) { return text == "invoke" || text == "stream"; };
  auto argument = std::find_if(arguments->begin(), arguments->end(), is_call);
  for (; argument != arguments->end(); ++argument) {
    const std::string_view text = *argument;
    const bool negative = text.size() > 1 && text[0] == '-' && text[1] >= '0' && text[1] <= '9';
    if (negative || text.starts_with('[') || text.starts_with('{')) argument->insert(0, " ");
  }
}

// `lever test DIR -- ARGUMENTS`: what is behind the dashes is another command's.
void TakeTestArguments(std::vector<std::string>* arguments, std::vector<std::string>* extra) {
  const auto dashes = std::find(arguments->begin(), arguments->end(), "--");
  if (dashes == arguments->end()) return;
  if (std::find(arguments->begin(), dashes, "test") == dashes) return;
  extra->assign(dashes + 1, arguments->end());
  arguments->erase(dashes, arguments->end());
}

std::string OneLine(const CLI::App& app, const std::string& what) {
  std::string text = "lever: " + what;
  std::replace(text.begin(), text.end(), '\n', ' ');
  const auto chosen = app.get_subcommands();
  const std::string command = chosen.empty() ? "" : chosen.front()->get_name() + " ";
  return text + "; `lever " + command + "--help` tells how it is used\n";
}

Status CheckNames(const CommandLine& line) {
  for (const std::string& environment :
       {line.globals.environment, line.environment.name, line.environment.copy_from}) {
    if (!environment.empty()) LEVER_RETURN_IF_ERROR(policy::CheckEnvironment(environment));
  }
  for (const std::string& service :
       {line.service, line.logs.service, line.settings.service, line.rollback.service,
        line.owner_change.service}) {
    if (!service.empty()) LEVER_RETURN_IF_ERROR(policy::CheckService(service));
  }
  const std::string& resource = line.owner_change.resource;
  return resource.empty() ? Status::Ok() : policy::CheckResource(resource);
}

}  // namespace

CommandLine ParseCommandLine(std::vector<std::string> arguments) {
  CommandLine line;
  CLI::App app("Deploys services to a Lever host, calls them, and shows what runs.", "lever");
  bool json = false;
  app.add_option("--host", line.globals.host,
                 "HOST:PORT or unix:PATH of the host, with tls: before it for TLS "
                 "(default: 127.0.0.1:8080)")
      ->envname("LEVER_HOST");
  app.add_option("--env", line.globals.environment, "the environment (default: dev.lever)")
      ->envname("LEVER_ENV");
  app.add_flag("--json", json, "output for programs");
  app.footer(kExitCodes);
  AddCommands(app, &line);

  TakeTestArguments(&arguments, &line.test.extra);
  ProtectJson(&arguments);
  std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
  const int usage = StatusToExitCode(LEVER_INVALID_ARGUMENT);
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp&) {
    const auto chosen = app.get_subcommands();
    line.text = chosen.empty() ? app.help() : chosen.front()->help(app.get_name());
    line.text += "\n";
    line.exit_code = 0;
    return line;
  } catch (const CLI::ParseError& error) {
    line.text = OneLine(app, error.what());
    line.exit_code = usage;
    return line;
  }
  if (app.get_subcommands().empty()) {
    line.text = OneLine(
        app,
        "a command is needed: init, test, dev, deploy, invoke, stream, logs, ps, ls, rm, resources, "
        "resource, versions, rollback, config, secret, env or version");
    line.exit_code = usage;
    return line;
  }
  if (line.dev.directories.empty()) line.dev.directories = {"."};
  line.globals.format = json ? Format::kJson : Format::kPeople;
  if (line.globals.environment.empty()) line.globals.environment = policy::kDefaultEnvironment;
  if (line.globals.host.empty()) line.globals.host = kDefaultHost;
  if (const Status status = CheckNames(line); !status.ok()) {
    line.text = OneLine(app, status.message());
    line.exit_code = usage;
  }
  return line;
}

}  // namespace lever::cli
