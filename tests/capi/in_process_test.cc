// Services and clients of one queue that reach each other without a host.
#include "tests/capi/capi_fixture.h"

namespace lever_test {
namespace {

constexpr const char* kConfig = "{\"greeting\":\"hi\"}";
constexpr char kSecrets[] = R"({"token":"hunter2"})";

class InProcessTest : public testing::Test {
 protected:
  // Answers the call that comes in with its own arguments.
  Event Answer() {
    const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
    EXPECT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
    const lever_slice slice = SliceOf(incoming.payload);
    EXPECT_EQ(lever_incoming_reply(events_.get(), incoming.id, incoming.kind, &slice, 1, nullptr, 0),
              LEVER_OK);
    return incoming;
  }

  Events events_;
};

TEST_F(InProcessTest, IsAttachedAtOnceAndAnswersByName) {
  Service first(&events_, InProcess("first"));
  Service second(&events_, InProcess("second"));
  first.Start();
  second.Start();
  events_.Await([&](const Event& event) {
    return event.object == second.get() && event.service_state == LEVER_SERVICE_ATTACHED;
  });
  Client client(&events_, InProcessClient());
  for (lever_service* meant : {first.get(), second.get(), first.get()}) {
    const uint64_t call = client.Call(meant == first.get() ? "/first/echo" : "/second/echo");
    const Event incoming = Answer();
    EXPECT_EQ(incoming.object, meant);
    EXPECT_EQ(incoming.caller, "");
    EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).payload, kNoArguments);
  }
}

TEST_F(InProcessTest, OtherServicesAreNotFoundUnexecuted) {
  Service service(&events_, InProcess("there"));
  service.Start();
  Client client(&events_, InProcessClient());
  for (const char* address : {"/elsewhere/echo", "lever://live.lever/there/echo"}) {
    const Event done = events_.Await(LEVER_EVENT_CALL_DONE, client.Call(address));
    EXPECT_EQ(done.status, LEVER_NOT_FOUND) << done.message;
    EXPECT_EQ(done.executed, LEVER_EXECUTED_NO);
  }
}

TEST_F(InProcessTest, AClientOfTheServiceIsInProcessAndSaysWhoCalls) {
  Service caller(&events_, InProcess("caller"));
  Service called(&events_, InProcess("called"));
  caller.Start();
  called.Start();
  lever_client_options options{};
  options.service = caller.get();
  Client client(&events_, options);
  const uint64_t call = client.Call("/called/echo");
  EXPECT_EQ(Answer().caller, "lever://dev.lever/caller");
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
}

TEST_F(InProcessTest, AServiceThatWasClosedIsNotFoundAndAnotherOfItsNameIsFound) {
  Client client(&events_, InProcessClient());
  for (int round = 0; round < 3; ++round) {
    {
      Service service(&events_, InProcess("again"));
      service.Start();
      const uint64_t call = client.Call("/again/echo");
      Answer();
      EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
    }
    EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, client.Call("/again/echo")).status,
              LEVER_NOT_FOUND);
  }
}

TEST_F(InProcessTest, ADrainFinishesWhatRuns) {
  Service service(&events_, InProcess("slow"));
  service.Start();
  Client client(&events_, InProcessClient());
  const uint64_t call = client.Call("/slow/echo");
  const Event incoming = events_.Await(LEVER_EVENT_INCOMING_CALL);
  EXPECT_EQ(lever_incoming_begin(events_.get(), incoming.id), LEVER_OK);
  EXPECT_EQ(lever_service_drain(service.get()), LEVER_OK);
  events_.Await([](const Event& event) { return event.service_state == LEVER_SERVICE_DRAINING; });
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, client.Call("/slow/echo")).status, LEVER_NOT_FOUND);
  const lever_slice slice = SliceOf(kNoArguments);
  EXPECT_EQ(lever_incoming_reply(events_.get(), incoming.id, LEVER_KIND_VALUE, &slice, 1, nullptr, 0),
            LEVER_OK);
  EXPECT_EQ(events_.Await(LEVER_EVENT_CALL_DONE, call).status, LEVER_OK);
  events_.Await([](const Event& event) { return event.service_state == LEVER_SERVICE_DRAINED; });
}

TEST_F(InProcessTest, HasTheConfigurationThatItWasGiven) {
  lever_service_options options = InProcess("configured");
  options.config_json = kConfig;
  options.config_json_size = LEVER_NUL_TERMINATED;
  options.secrets_json = kSecrets;
  options.secrets_json_size = LEVER_NUL_TERMINATED;
  Service service(&events_, options);
  service.Start();
  lever_service_details details{};
  details.size = sizeof(details);
  EXPECT_EQ(lever_service_get_details(service.get(), &details), LEVER_OK);
  EXPECT_STREQ(details.config_json, kConfig);
  EXPECT_STREQ(details.secrets_json, kSecrets);
  EXPECT_STREQ(details.name, "configured");
}

TEST_F(InProcessTest, OneNameIsOneServices) {
  Service first(&events_, InProcess("one"));
  Service second(&events_, InProcess("one"));
  first.Start();
  lever_error* error = nullptr;
  EXPECT_EQ(lever_service_start(second.get(), &error), LEVER_ALREADY_EXISTS);
  EXPECT_STREQ(lever_error_message(error),
               "this queue has an in_process service lever://dev.lever/one already");
  lever_error_destroy(error);
}

TEST_F(InProcessTest, RefusesWhatDoesNotGoTogether) {
  lever_service* service = nullptr;
  lever_service_options options = InProcess("a");
  options.listen = "127.0.0.1:0";
  options.listen_size = LEVER_NUL_TERMINATED;
  EXPECT_EQ(lever_service_create(events_.get(), &options, &service, nullptr), LEVER_INVALID_ARGUMENT);
  options = InProcess(nullptr);
  EXPECT_EQ(lever_service_create(events_.get(), &options, &service, nullptr), LEVER_INVALID_ARGUMENT);
  options = Service::Options();
  options.config_json = kConfig;
  options.config_json_size = LEVER_NUL_TERMINATED;
  EXPECT_EQ(lever_service_create(events_.get(), &options, &service, nullptr), LEVER_INVALID_ARGUMENT);
  options = Service::Options();
  options.secrets_json = kSecrets;
  options.secrets_json_size = LEVER_NUL_TERMINATED;
  EXPECT_EQ(lever_service_create(events_.get(), &options, &service, nullptr), LEVER_INVALID_ARGUMENT);
  lever_client* client = nullptr;
  lever_client_options of_client = InProcessClient();
  of_client.size = sizeof(of_client);
  of_client.host = kNoHost;
  of_client.host_size = LEVER_NUL_TERMINATED;
  EXPECT_EQ(lever_client_create(events_.get(), &of_client, &client, nullptr), LEVER_INVALID_ARGUMENT);
  Service attached(&events_);
  of_client = InProcessClient();
  of_client.size = sizeof(of_client);
  of_client.service = attached.get();
  EXPECT_EQ(lever_client_create(events_.get(), &of_client, &client, nullptr), LEVER_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lever_test
