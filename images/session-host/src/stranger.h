/* Connections that have not shown the token yet. */
#ifndef STRANGER_H
#define STRANGER_H
#include <stdbool.h>

/* Listens on an abstract socket; `known` gets the descriptor of a connection that has shown the token. */
bool strangers_listen(const char *name, void (*known)(int fd));
/* For a forked child, before others may look at it. */
void strangers_erase_token(void);

#endif
