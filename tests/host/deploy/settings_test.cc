#include "liblever/host/deploy/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/host/deploy/temporary_directory.h"

namespace lever::deploy {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() : box_(std::move(SecretBox::Load(path_)).value()) {}
  StatusOr<Settings> Change(const SettingsChange& change, Settings before = {}) {
    return Changed(std::move(before), change, "env/service", *box_);
  }

  TemporaryDirectory directory_;
  const std::string path_ = directory_ / "secret.key";
  std::unique_ptr<SecretBox> box_;
};

TEST_F(SettingsTest, ConfigIsLaidOverWhatLeverJsonSays) {
  const StatusOr<Settings> settings = Change({.config_json = {{"a", " [1, 2] "}, {"b", "\"x\""}}});
  ASSERT_TRUE(settings.ok()) << settings.status().ToString();
  EXPECT_EQ(*MergedConfig(R"({"b":1,"c":2})", *settings), R"({"a":[1,2],"b":"x","c":2})");
  EXPECT_EQ(*MergedConfig("null", *settings), R"({"a":[1,2],"b":"x"})");
  EXPECT_EQ(MergedConfig("[1]", *settings).status().code(), LEVER_INVALID_ARGUMENT);
  EXPECT_EQ(*MergedConfig("[1]", Settings()), "[1]");
}

TEST_F(SettingsTest, WhatIsUnsetIsGoneAndMustHaveBeenSet) {
  const Settings before = *Change({.config_json = {{"a", "1"}}, .secrets = {{"s", "x"}}});
  const StatusOr<Settings> after = Change({.config_unset = {"a"}, .secrets_unset = {"s"}}, before);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(*after, Settings());
  EXPECT_EQ(Change({.config_unset = {"s"}}, before).status().code(), LEVER_NOT_FOUND);
  EXPECT_EQ(Change({.secrets_unset = {"a"}}, before).status().code(), LEVER_NOT_FOUND);
}

TEST_F(SettingsTest, BadNamesAndValuesAreRefused) {
  for (const char* name : {"", "1a", "a b", "a=b", "-a", "\xff"}) {
    EXPECT_EQ(Change({.config_json = {{name, "1"}}}).status().code(), LEVER_INVALID_ARGUMENT)
        << name;
    EXPECT_EQ(Change({.secrets = {{name, "1"}}}).status().code(), LEVER_INVALID_ARGUMENT) << name;
  }
  EXPECT_FALSE(Change({.config_json = {{std::string(kSettingNameBytesMax + 1, 'a'), "1"}}}).ok());
  for (const std::string& value :
       {std::string("{"), std::string(), std::string("1 2"),
        std::string(kSettingsBytesMax + 1, '1'), std::string(1000, '[') + std::string(1000, ']')}) {
    EXPECT_EQ(Change({.config_json = {{"a", value}}}).status().code(), LEVER_INVALID_ARGUMENT);
  }
  EXPECT_FALSE(Change({.secrets = {{"a", ""}}}).ok());
  EXPECT_FALSE(Change({.secrets = {{"a", "\xff"}}}).ok());
  EXPECT_FALSE(Change({.secrets = {{"a", std::string(kSettingsBytesMax, 'x')}}}).ok());
}

TEST_F(SettingsTest, ASecretIsSealedAndTheSameAgainIsNoChange) {
  const Settings once = *Change({.secrets = {{"token", "hunter2"}}});
  EXPECT_THAT(once.secrets.at("token"), Not(HasSubstr("hunter2")));
  EXPECT_EQ(*Change({.secrets = {{"token", "hunter2"}}}, once), once);
  EXPECT_NE(*Change({.secrets = {{"token", "hunter3"}}}, once), once);
  EXPECT_EQ(*SecretsJson(once, "env/service", *box_), R"({"token":"hunter2"})");
  EXPECT_EQ(*SecretsJson(Settings(), "env/service", *box_), "");
}

TEST_F(SettingsTest, ASecretOpensForItsServiceAndNameOnly) {
  Settings settings = *Change({.secrets = {{"token", "hunter2"}}});
  EXPECT_EQ(SecretsJson(settings, "env/other", *box_).status().code(), LEVER_DATA_LOSS);
  settings.secrets["renamed"] = settings.secrets["token"];
  settings.secrets.erase("token");
  const Status status = SecretsJson(settings, "env/service", *box_).status();
  EXPECT_EQ(status.code(), LEVER_DATA_LOSS);
  EXPECT_THAT(status.message(), HasSubstr("renamed"));
}

TEST_F(SettingsTest, WhatIsDamagedDoesNotOpen) {
  const std::string sealed = box_->Seal("place", "text");
  EXPECT_EQ(*box_->Open("place", sealed), "text");
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string damaged = sealed;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(box_->Open("place", damaged).ok()) << i;
    EXPECT_FALSE(box_->Open("place", sealed.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(box_->Open("place", sealed + "AAAA").ok());
}

TEST_F(SettingsTest, TheKeyIsTheOwnersAloneAndOutlivesTheHost) {
  struct stat info = {};
  ASSERT_EQ(::stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0600u);
  const std::string sealed = box_->Seal("place", "text");
  EXPECT_EQ(*SecretBox::Load(path_).value()->Open("place", sealed), "text");
  const std::string other = directory_ / "other.key";
  EXPECT_FALSE(SecretBox::Load(other).value()->Open("place", sealed).ok());
}

TEST_F(SettingsTest, AKeyThatOthersCanReadOrThatIsNoneIsRefused) {
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  EXPECT_EQ(SecretBox::Load(path_).status().code(), LEVER_FAILED_PRECONDITION);
  ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
  std::ofstream(path_, std::ios::app) << "x";
  EXPECT_EQ(SecretBox::Load(path_).status().code(), LEVER_FAILED_PRECONDITION);
}

}  // namespace
}  // namespace lever::deploy
