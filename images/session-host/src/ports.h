/*
 * What listens in the sandbox, as /proc/net says. The kernel tells nobody when a port begins or ceases to listen, so the
 * host looks: when it is asked, at the end of each command, and by a timer while the client waits for one.
 */
#ifndef PORTS_H
#define PORTS_H
#include <stdbool.h>
#include <stdint.h>

enum { PORTS_MAX = 128 };
enum { WATCH_NOT, WATCH_COMMANDS, WATCH_TIME };

/* The client wants the list once, and from then on each time it has changed and was looked at. */
void ports_ask(uint64_t cookie, uint8_t watch);
/* A command has ended. What is new is said before its end is. */
void ports_check(void);
/* Says what there is to say and room for. */
void ports_go_on(void);
/* The client is gone. */
void ports_abandon(void);

#endif
