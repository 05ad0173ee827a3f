/* The example's instance driver: posix_spawn, and a thread for each instance that passes its output
 * on and waits for its end.
 *
 * A driver that is all of one program's, so it keeps its instances in static variables.
 */
#ifndef EXAMPLES_EMBED_DRIVER_H_
#define EXAMPLES_EMBED_DRIVER_H_

#include "lever/host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* For lever_host_options. */
lever_driver driver_of_processes(void);
/* Waits until no instance is left, and the last report about each was made: from then on the driver
 * does not use the host any more. */
void driver_wait(void);

#ifdef __cplusplus
}
#endif
#endif /* EXAMPLES_EMBED_DRIVER_H_ */
