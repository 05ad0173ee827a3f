// testing.hpp: services and a client of Lever in one process, for tests. Needs no host and no network, but
// all that a call meets on its way is there.
//
//   lever::testing::Lever lever;
//   AddMethods(lever.service("hello"));                 // a function of the program's own
//   lever.start();
//   EXPECT_EQ(lever.client().invoke<std::string>("/hello/sayHello", "Ann"), "Hello, Ann!");
//
// With hold_time() no timeout and no deadline passes by itself:
//
//   lever.hold_time();
//   std::thread caller([&] { EXPECT_THROW(lever.client().invoke("/hello/wait"), lever::Error); });
//   lever.advance(std::chrono::seconds(60));            // the call's own timeout is over
//
// Threads. Each service's methods run on threads of this object's, as they do in run(). service() and
// start() by one thread; the client, hold_time() and advance() by any.
#ifndef LEVER_TESTING_HPP_
#define LEVER_TESTING_HPP_

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "lever/lever.hpp"

namespace lever::testing {

class Lever {
 public:
  explicit Lever(std::string environment = "dev.lever")
      : environment_(std::move(environment)), queue_(std::make_shared<detail::Queue>()) {}
  Lever(const Lever&) = delete;
  Lever& operator=(const Lever&) = delete;
  // Ends what still runs with CANCELLED.
  ~Lever() {
    client_.reset();
    for (const auto& running : services_) {
      if (running->thread.joinable()) lever_service_close(running->service->get());
    }
    for (const auto& running : services_) {
      if (running->thread.joinable()) running->thread.join();
    }
  }

  // A service to add methods to, before start(). `config_json` is what lever.json would say as its
  // config, `secrets_json` an object of what `lever secret set` would have set. One name is one
  // service.
  Service& service(std::string name, const std::string& config_json = "null",
                   ServiceOptions options = {}, const std::string& secrets_json = "{}") {
    options.name = std::move(name);
    options.environment = environment_;
    auto running = std::make_unique<Running>();
    running->service = std::make_unique<Service>(
        queue_, options, [&config_json, &secrets_json](lever_service_options& native) {
          native.in_process = 1;
          native.config_json = config_json.data();
          native.config_json_size = config_json.size();
          native.secrets_json = secrets_json.data();
          native.secrets_json_size = secrets_json.size();
        });
    services_.push_back(std::move(running));
    return *services_.back()->service;
  }

  // Every service takes calls from here on. Throws Error if two have one name.
  void start() {
    for (const auto& running : services_) {
      if (running->thread.joinable()) continue;
      running->service->start();
      running->thread = std::thread([service = running->service.get()] { service->run(); });
    }
  }

  // Calls the services by name; NOT_FOUND for others.
  Client& client() {
    if (client_ == nullptr) {
      ClientOptions options;
      options.environment = environment_;
      client_ = std::make_unique<Client>(
          queue_, options, [](lever_client_options& native) { native.in_process = 1; });
    }
    return *client_;
  }

  // Time stands still from here on, and moves by advance() alone.
  void hold_time() { queue_->HoldTime(); }
  // What becomes due happens on the threads that wait for it.
  void advance(std::chrono::nanoseconds by) { queue_->AdvanceTime(by); }

 private:
  struct Running {
    std::unique_ptr<Service> service;
    std::thread thread;
  };

  const std::string environment_;
  const std::shared_ptr<detail::Queue> queue_;
  std::vector<std::unique_ptr<Running>> services_;
  std::unique_ptr<Client> client_;
};

}  // namespace lever::testing

#endif  // LEVER_TESTING_HPP_
