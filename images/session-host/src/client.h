/* The connection to the server. */
#ifndef CLIENT_H
#define CLIENT_H
#include <stdbool.h>

/* Waits for a client on an abstract socket. `orphan_seconds` without one end the host; 0 = never. */
bool client_await(const char *name, unsigned orphan_seconds);
/* Says what there is to say and room for. */
void client_settle(void);

#endif
