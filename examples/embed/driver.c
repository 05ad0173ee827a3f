#define _GNU_SOURCE
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The numbers that LEVER_FDS in the instance's environment says. */
enum { ATTACH_FD = 3, INTRODUCTION_FD = 4, INSTANCES_MAX = 64 };

/* One running instance, of the thread that watches it. */
struct instance {
  lever_host* host;
  uint64_t id;
  pid_t pid;     /* 0: the slot is free */
  int output[2]; /* what comes out of its stdout and stderr */
};

/* Guards `pid` and `id` of the slots, and `watching`. */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t watched = PTHREAD_COND_INITIALIZER;
static struct instance instances[INSTANCES_MAX];
static int watching; /* threads of instances, which use the host */

static struct instance* take_slot(void) {
  struct instance* found = NULL;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < INSTANCES_MAX && found == NULL; ++i) {
    if (instances[i].pid == 0) found = &instances[i];
  }
  if (found != NULL) found->pid = -1; /* taken, not running yet */
  pthread_mutex_unlock(&mutex);
  return found;
}

static void set_pid(struct instance* instance, pid_t pid) {
  pthread_mutex_lock(&mutex);
  instance->pid = pid;
  pthread_mutex_unlock(&mutex);
}

/* Passes output on as fast as the host takes it; the pipe holds up an instance that is faster. */
static void report_output(const struct instance* instance, lever_output kind, const uint8_t* data,
                          size_t size) {
  const struct timespec pause = {0, 1000000};
  while (lever_host_instance_output(instance->host, instance->id, kind, data, size) ==
         LEVER_RESOURCE_EXHAUSTED) {
    nanosleep(&pause, NULL);
  }
}

/* Passes on what the instance writes until it has closed both ends. */
static void pump_output(struct instance* instance) {
  static const lever_output kinds[2] = {LEVER_OUTPUT_STDOUT, LEVER_OUTPUT_STDERR};
  struct pollfd polled[2] = {{instance->output[0], POLLIN, 0}, {instance->output[1], POLLIN, 0}};
  int open = 2;
  while (open > 0) {
    if (poll(polled, 2, -1) < 0) continue; /* EINTR */
    for (int i = 0; i < 2; ++i) {
      uint8_t buffer[4096];
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      const ssize_t size = read(polled[i].fd, buffer, sizeof buffer);
      if (size > 0) {
        report_output(instance, kinds[i], buffer, (size_t)size);
      } else if (size == 0 || errno != EINTR) {
        close(polled[i].fd);
        polled[i].fd = -1;
        --open;
      }
    }
  }
}

static void* watch_instance(void* argument) {
  struct instance* const instance = argument;
  siginfo_t info = {0};
  pump_output(instance);
  /* Not reaped before the slot is free, so that stop() never signals another process. */
  while (waitid(P_PID, (id_t)instance->pid, &info, WEXITED | WNOWAIT) < 0 && errno == EINTR) {
  }
  const pid_t pid = instance->pid;
  lever_host* const host = instance->host;
  const uint64_t id = instance->id;
  set_pid(instance, 0);
  waitpid(pid, NULL, 0);
  const int exited = info.si_code == CLD_EXITED;
  lever_host_instance_exited(host, id, exited ? info.si_status : -1, exited ? 0 : info.si_status);
  pthread_mutex_lock(&mutex);
  --watching;
  pthread_cond_signal(&watched);
  pthread_mutex_unlock(&mutex);
  return NULL;
}

void driver_wait(void) {
  pthread_mutex_lock(&mutex);
  while (watching > 0) pthread_cond_wait(&watched, &mutex);
  pthread_mutex_unlock(&mutex);
}

/* Starts the program of `spec` in its directory, in a group of its own, with descriptors 0 to 4. */
static int spawn(const lever_instance_spec* spec, const int inherited[4], pid_t* pid) {
  static const int numbers[4] = {STDOUT_FILENO, STDERR_FILENO, ATTACH_FD, INTRODUCTION_FD};
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  for (int i = 0; i < 4; ++i) {
    posix_spawn_file_actions_adddup2(&actions, inherited[i], numbers[i]);
  }
  /* Whatever else this program has open. */
  posix_spawn_file_actions_addclosefrom_np(&actions, INTRODUCTION_FD + 1);
  if (spec->directory[0] != '\0') {
    posix_spawn_file_actions_addchdir_np(&actions, spec->directory);
  }
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  const int error = posix_spawnp(pid, spec->argv[0], &actions, &attributes,
                                 (char* const*)spec->argv, (char* const*)spec->environ_);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error;
}

/* Above every number that an instance gets, so that dup2 in the child overwrites none of them; -1
 * if that fails, or if `fd` is none, which spawn() then reports. */
static int moved_up(int fd) {
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 16);
  close(fd);
  return moved;
}

static lever_status start_instance(void* context, lever_host* host, uint64_t id,
                                   const lever_instance_spec* spec) {
  (void)context;
  int out[2] = {-1, -1};
  int err[2] = {-1, -1};
  int error = 0;
  pid_t pid = 0;
  pthread_t thread;
  struct instance* const instance = take_slot();
  if (instance == NULL || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) error = EMFILE;
  /* The descriptors are ours from here on, whatever happens. */
  const int inherited[4] = {moved_up(out[1]), moved_up(err[1]), moved_up(spec->attach_fd),
                            moved_up(spec->introduction_fd)};
  if (error == 0) error = spawn(spec, inherited, &pid);
  for (int i = 0; i < 4; ++i) {
    if (inherited[i] >= 0) close(inherited[i]);
  }
  if (error != 0) {
    if (out[0] >= 0) close(out[0]);
    if (err[0] >= 0) close(err[0]);
    if (instance != NULL) set_pid(instance, 0);
    fprintf(stderr, "driver: %s: %s\n", spec->argv[0], strerror(error));
    return LEVER_UNAVAILABLE;
  }
  pthread_mutex_lock(&mutex);
  instance->host = host;
  instance->id = id;
  instance->output[0] = out[0];
  instance->output[1] = err[0];
  instance->pid = pid;
  ++watching;
  pthread_mutex_unlock(&mutex);
  printf("started %s of %s as process %d\n", spec->instance, spec->service, (int)pid);
  fflush(stdout);
  lever_host_instance_started(host, id, pid, NULL);
  if (pthread_create(&thread, NULL, watch_instance, instance) != 0) abort();
  pthread_detach(thread);
  return LEVER_OK;
}

static void stop_instance(void* context, lever_host* host, uint64_t id, int force) {
  (void)context;
  (void)host;
  pthread_mutex_lock(&mutex);
  for (int i = 0; i < INSTANCES_MAX; ++i) {
    if (instances[i].pid > 0 && instances[i].id == id) {
      kill(-instances[i].pid, force ? SIGKILL : SIGTERM);
    }
  }
  pthread_mutex_unlock(&mutex);
}

lever_driver driver_of_processes(void) {
  const lever_driver driver = {
      .size = sizeof driver, .start = start_instance, .stop = stop_instance};
  return driver;
}
