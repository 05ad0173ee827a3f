// A service's directory on its way to a host: lever.json, the build step, the bundle.
//
// One thread, which is that of the connection.
#ifndef DAEMON_LEVER_DEPLOYMENT_H_
#define DAEMON_LEVER_DEPLOYMENT_H_

#include <string>

#include "daemon/lever/build_step.h"
#include "daemon/lever/connection.h"
#include "daemon/lever/upload.h"
#include "lever/v1/admin.pb.h"
#include "liblever/base/status.h"
#include "liblever/host/deploy/manifest.h"

namespace lever::cli {

// The text of the directory's lever.json. NOT_FOUND: there is none.
StatusOr<std::string> ReadManifest(const std::string& directory);

// Checks lever.json and runs its `build`, if it has one. Gives what lever.json said before that.
StatusOr<deploy::Manifest> BuildService(const std::string& directory, const BuildOptions& options);

// An Upload that is waited for until the host is done.
StatusOr<lever::v1::DeployProgress> PackAndUpload(Connection* connection,
                                                  const std::string& directory,
                                                  const std::string& environment,
                                                  const lever::v1::DeployBegin& terms);

}  // namespace lever::cli

#endif  // DAEMON_LEVER_DEPLOYMENT_H_
