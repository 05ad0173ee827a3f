/* A program that embeds a host, and starts its instances by itself.
 *
 *   embed DATA_DIR [LISTEN]      LISTEN: 127.0.0.1:0 unless given
 *
 * It prints the address that the host listens on, and runs until SIGINT or SIGTERM. Deploy to that
 * address with `lever deploy`, and call it: each instance that the host wants is started by the
 * driver of driver.c.
 */
#define _POSIX_C_SOURCE 200809L
#include <signal.h>
#include <stdio.h>

#include "driver.h"
#include "lever/host.h"

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: embed DATA_DIR [LISTEN]\n");
    return 2;
  }
  /* Blocked here, so in all threads of the host, and waited for below. */
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, NULL);

  const lever_driver driver = driver_of_processes();
  const char* const listen[] = {argc == 3 ? argv[2] : "127.0.0.1:0"};
  const lever_host_options options = {.size = sizeof options,
                                      .data_dir = argv[1],
                                      .listen = listen,
                                      .listen_count = 1,
                                      .driver = &driver};
  lever_host* host = NULL;
  lever_error* error = NULL;
  if (lever_host_start(&options, &host, &error) != LEVER_OK) {
    fprintf(stderr, "embed: %s\n", lever_error_message(error));
    lever_error_destroy(error);
    return 1;
  }
  printf("listening on %s\n", lever_host_address(host, 0));
  fflush(stdout);

  int signal_number = 0;
  sigwait(&ends, &signal_number);
  lever_host_close(host);
  lever_host_wait(host, -1);
  driver_wait(); /* their last reports are made: nothing uses the host any more */
  return lever_host_destroy(host) == LEVER_OK ? 0 : 1;
}
