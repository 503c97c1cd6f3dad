/* Lets a shell outlive its container: the client gets the snapshot and the directory, and gives them to another host. */
#ifndef CARRY_H
#define CARRY_H
#include "frame.h"

/* The client wants the idle shell's. */
void carry_ask(uint64_t cookie);
/* A part of one, for a shell that has run nothing. False: it does not keep to the protocol. */
bool carry_give(const struct request *request);
/* Says what there is to say and room for. */
void carry_go_on(void);
/* The client is gone. */
void carry_abandon(void);

#endif
