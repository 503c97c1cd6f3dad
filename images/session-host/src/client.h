/* The connection to the server. */
#ifndef CLIENT_H
#define CLIENT_H
#include <stdbool.h>

/* Listens on an abstract socket. `orphan_seconds` without a trusted client end the host; 0 = never. */
bool client_listen(const char *name, unsigned orphan_seconds);
/* Sends what there is to say and room for. */
void client_settle(void);
/* For a forked child, before others may look at it. */
void client_erase_token(void);

#endif
