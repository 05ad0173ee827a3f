// A directory of a test's own, removed with it.
#ifndef TESTS_HOST_DEPLOY_TEMPORARY_DIRECTORY_H_
#define TESTS_HOST_DEPLOY_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace lever::deploy {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    char path[] = "/tmp/lever-deploy-XXXXXX";
    path_ = ::mkdtemp(path);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path_); }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  // With the directories above it.
  void Write(const std::string& name, const std::string& content = "x") const {
    std::filesystem::create_directories(std::filesystem::path(path_ + "/" + name).parent_path());
    std::ofstream(path_ + "/" + name, std::ios::binary) << content;
  }

 private:
  std::string path_;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace lever::deploy

#endif  // TESTS_HOST_DEPLOY_TEMPORARY_DIRECTORY_H_
