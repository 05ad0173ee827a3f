// What `lever dev` says on standard error: lines for people, or one JSON object a line.
#ifndef DAEMON_LEVER_DEV_REPORT_H_
#define DAEMON_LEVER_DEV_REPORT_H_

#include <cstdint>
#include <string>

#include "daemon/lever-dev/dev_host.h"
#include "daemon/lever/command.h"
#include "liblever/base/status.h"

namespace lever::cli {

void ReportListening(const Globals& globals, const DevHost& host);
void ReportDeployed(const Globals& globals, const std::string& service, uint64_t version,
                    int64_t took_ns);
// `version`: the one that serves all the same; 0: none.
void ReportFailed(const Globals& globals, const std::string& service, uint64_t version,
                  const Status& status);
void ReportStopping(const Globals& globals);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEV_REPORT_H_
