/* The service that the driver suite starts: does what its arguments say, one after the other, and
 * returns 0 at their end.
 *
 *   out TEXT, err TEXT      prints a line
 *   bytes N                 prints N bytes on stdout, "0123456789" over and over
 *   flood                   prints for ever
 *   exit N, signal N        ends
 *   wait                    until it is ended
 *   ignore-term             SIGTERM does nothing from here on
 *   exit-at-term N          SIGTERM ends it with that code
 *   attach TEXT, introduction TEXT   writes to the inherited socket
 *   listen                  takes connections at $LEVER_LISTEN
 *   await FILE              until the file is there
 *   fork N                  has N children that wait, as far as it may, and prints "forked N"
 *   spin MS                 computes for so long, and prints "spun MS", the time that it got for it
 *   nofile                  prints "nofile N", its limit of descriptors
 *   daemon                  leaves a process behind that has forked twice and called setsid, and
 * prints "daemon PID" itself hog MIB                 takes that much memory hog-child MIB has a
 * child that takes it, and waits for the child env, fds, state         prints what it was given
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char** environ;

static int code_at_term;

static void nap(void) {
  const struct timespec pause = {0, 2000000};
  nanosleep(&pause, NULL);
}

static void fail(const char* what) {
  perror(what);
  _exit(99);
}

static void on_term(int number) {
  (void)number;
  _exit(code_at_term);
}

static void print_bytes(size_t count) {
  char block[1000];
  for (size_t i = 0; i < sizeof block; ++i) block[i] = (char)('0' + i % 10);
  while (count > 0) {
    const size_t size = count < sizeof block ? count : sizeof block;
    if (fwrite(block, 1, size, stdout) != size) fail("fwrite");
    count -= size;
  }
  fflush(stdout);
}

static void write_to(int fd, const char* text) {
  if (write(fd, text, strlen(text)) < 0) fail("write");
}

static void listen_at(const char* address) {
  struct sockaddr_un local = {.sun_family = AF_UNIX};
  struct sockaddr_in inet = {.sin_family = AF_INET};
  const int is_unix = strncmp(address, "unix:", 5) == 0;
  const int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM, 0);
  const int yes = 1;
  int error;
  if (is_unix) {
    snprintf(local.sun_path, sizeof local.sun_path, "%s", address + 5);
    error = bind(fd, (const struct sockaddr*)&local, sizeof local);
  } else {
    const char* const port = strrchr(address, ':');
    inet.sin_port = htons((unsigned short)atoi(port + 1));
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    error = bind(fd, (const struct sockaddr*)&inet, sizeof inet);
  }
  if (error != 0 || listen(fd, 16) != 0) fail(address);
}

static void leave_daemon(void) {
  const pid_t first = fork();
  if (first == 0) {
    setsid();
    if (fork() != 0) _exit(0);
    setsid();
    signal(SIGTERM, SIG_IGN);
    printf("daemon %d\n", (int)getpid());
    fflush(stdout);
    for (;;) pause();
  }
  waitpid(first, NULL, 0);
}

static void hog(size_t mib) {
  const size_t size = mib << 20;
  char* const memory = malloc(size);
  if (memory == NULL) fail("malloc");
  for (size_t i = 0; i < size; i += 1024) memory[i] = (char)i;
  /* Used, so that no compiler leaves it out. */
  if (memory[size / 2] == 1 && memory[size / 3] == 2) puts("odd");
}

static void fork_many(int wanted) {
  int made = 0;
  for (; made < wanted; ++made) {
    const pid_t child = fork();
    if (child < 0) break;
    if (child == 0) {
      for (;;) pause();
    }
  }
  printf("forked %d\n", made);
}

static long elapsed_ms(clockid_t clock, const struct timespec* since) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

static void spin(long ms) {
  struct timespec began, used;
  clock_gettime(CLOCK_MONOTONIC, &began);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  while (elapsed_ms(CLOCK_MONOTONIC, &began) < ms) {
  }
  printf("spun %ld\n", elapsed_ms(CLOCK_PROCESS_CPUTIME_ID, &used));
}

static void print_descriptor_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  printf("nofile %ld of %ld\n", (long)limit.rlim_cur, (long)limit.rlim_max);
}

static void print_descriptors(void) {
  DIR* const directory = opendir("/proc/self/fd");
  struct dirent* entry;
  while ((entry = readdir(directory)) != NULL) {
    const int fd = atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(directory)) printf("fd %d\n", fd);
  }
  closedir(directory);
}

static void print_state(void) {
  char text[4096];
  struct rlimit core;
  sigset_t mask;
  int blocked = 0, ignored = 0;
  sigprocmask(SIG_SETMASK, NULL, &mask);
  for (int number = 1; number < 32; ++number) {
    struct sigaction action;
    blocked += sigismember(&mask, number) == 1;
    if (sigaction(number, NULL, &action) == 0) ignored += action.sa_handler == SIG_IGN;
  }
  getrlimit(RLIMIT_CORE, &core);
  printf("leads its group: %d\n", getpgrp() == getpid());
  printf("directory: %s\n", getcwd(text, sizeof text));
  printf("signals blocked: %d, ignored: %d\n", blocked, ignored);
  printf("uid: %d, gid: %d, groups: %d\n", (int)getuid(), (int)getgid(), getgroups(0, NULL));
  printf("stdin: %s\n", read(0, text, 1) == 0 ? "at its end" : "something");
}

/* Does what argv[at] says; returns how many arguments that took. */
static int step(char** argv, int at) {
  const char* const command = argv[at];
  const char* const argument = argv[at + 1];
  if (strcmp(command, "flood") == 0) {
    for (;;) print_bytes(1000000);
  } else if (strcmp(command, "wait") == 0) {
    for (;;) pause();
  } else if (strcmp(command, "ignore-term") == 0) {
    signal(SIGTERM, SIG_IGN);
  } else if (strcmp(command, "listen") == 0) {
    listen_at(getenv("LEVER_LISTEN"));
  } else if (strcmp(command, "daemon") == 0) {
    leave_daemon();
  } else if (strcmp(command, "fds") == 0) {
    print_descriptors();
  } else if (strcmp(command, "nofile") == 0) {
    print_descriptor_limit();
  } else if (strcmp(command, "state") == 0) {
    print_state();
  } else if (strcmp(command, "env") == 0) {
    for (char** variable = environ; *variable != NULL; ++variable) printf("env %s\n", *variable);
  } else if (argument == NULL) {
    fprintf(stderr, "%s: what is that?\n", command);
    exit(98);
  } else {
    if (strcmp(command, "out") == 0) {
      puts(argument);
    } else if (strcmp(command, "err") == 0) {
      fprintf(stderr, "%s\n", argument);
    } else if (strcmp(command, "bytes") == 0) {
      print_bytes((size_t)atol(argument));
    } else if (strcmp(command, "exit") == 0) {
      exit(atoi(argument));
    } else if (strcmp(command, "signal") == 0) {
      raise(atoi(argument));
    } else if (strcmp(command, "exit-at-term") == 0) {
      code_at_term = atoi(argument);
      signal(SIGTERM, on_term);
    } else if (strcmp(command, "attach") == 0) {
      write_to(3, argument);
    } else if (strcmp(command, "introduction") == 0) {
      write_to(4, argument);
    } else if (strcmp(command, "await") == 0) {
      while (access(argument, F_OK) != 0) nap();
    } else if (strcmp(command, "fork") == 0) {
      fork_many(atoi(argument));
    } else if (strcmp(command, "spin") == 0) {
      spin(atol(argument));
    } else if (strcmp(command, "hog") == 0) {
      hog((size_t)atol(argument));
    } else if (strcmp(command, "hog-child") == 0) {
      const pid_t child = fork();
      if (child == 0) {
        hog((size_t)atol(argument));
        for (;;) pause();
      }
      waitpid(child, NULL, 0);
    } else {
      fprintf(stderr, "%s: what is that?\n", command);
      exit(98);
    }
    return 2;
  }
  return 1;
}

int main(int argc, char** argv) {
  for (int at = 1; at < argc;) {
    at += step(argv, at);
    fflush(stdout);
  }
  return 0;
}
