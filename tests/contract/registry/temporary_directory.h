// A directory that is gone, with all that is in it, when its object is.
#ifndef TESTS_CONTRACT_REGISTRY_TEMPORARY_DIRECTORY_H_
#define TESTS_CONTRACT_REGISTRY_TEMPORARY_DIRECTORY_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace lever::registry {

class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_(testing::TempDir() + "lever-registry-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "no directory " << path_;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace lever::registry

#endif  // TESTS_CONTRACT_REGISTRY_TEMPORARY_DIRECTORY_H_
