/* Connections to programs that listen in the sandbox, each carried as a channel of its own. They end with the client's connection. */
#ifndef DIAL_H
#define DIAL_H
#include "frame.h"

enum { DIALS_MAX = 512, DIAL_ROOM = 64 << 10 };

/* Begins to connect. What goes wrong is said with CLOSED. */
void dial_open(const struct request *request);
/* False: more than there was room for. */
bool dial_send(const struct request *request);
/* No more will be sent: the program sees the end behind the bytes before it. */
void dial_finish(uint32_t channel);
/* Resets the connection; nothing more is said of it. */
void dial_cut(uint32_t channel);
/* True when the channel is one of these. */
bool dial_credit(uint32_t channel, uint64_t limit);
/* Says what there is to say and room for. */
void dials_go_on(void);
/* Listens to the programs as far as what they send can be passed on, and frees what has ended. */
void dials_settle(void);
/* The client is gone. */
void dials_abandon(void);

#endif
