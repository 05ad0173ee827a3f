// A directory that is gone with the object.
#ifndef TESTS_HOST_CAPI_TEMPORARY_DIRECTORY_H_
#define TESTS_HOST_CAPI_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char name[] = "/tmp/lever-host-test-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TemporaryDirectory() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

#endif  // TESTS_HOST_CAPI_TEMPORARY_DIRECTORY_H_
