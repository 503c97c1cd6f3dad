/* What is on its way to the client: a bounded store behind the socket, and the frames that are put into it. */
#ifndef OUTBOX_H
#define OUTBOX_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "frame.h"

enum { REPLY_MAX = 8192 }; /* every frame but DATA is smaller */

/* Begins anew, empty, for a connected socket that stays the caller's. */
void outbox_open(int fd);
/* Room for one frame of REPLY_MAX bytes. Without it nothing may be said. */
bool outbox_has_room(void);
/* The socket takes no more until it is writable again, which `outbox_resume` says. */
bool outbox_is_blocked(void);
void outbox_resume(void);
/* The connection is of no use any more. */
bool outbox_is_broken(void);
/* Sends what is stored; true when that was all of it. */
bool outbox_flush(void);
/* Sends a frame past an empty store; what the socket does not take is stored. */
void outbox_send(struct iovec *parts, int count);

void say_begin(enum reply_type type);
void say_end(void);
void say8(uint8_t n);
void say16(uint16_t n);
void say32(uint32_t n);
void say64(uint64_t n);
void say_string(const char *text);
void say_bytes(const void *bytes, size_t count);

#endif
