/*
 * Which channel a process belongs to. What a command leaves behind, as child of the shell or as orphan, is recorded when the
 * command ends, and everything below it belongs to the same command. protocol.md states the whole rule.
 */
#ifndef OWNER_H
#define OWNER_H
#include "process.h"

/* Records what the command that ends left behind; the number of those processes. */
uint16_t owner_survey(uint32_t channel);
/* Signals every process of a channel; for SIGKILL until none is left. False: it has none. */
bool owner_signal(uint32_t channel, int signal);
/* Kills every process of every command, the shell excepted. */
void owner_kill_commands(void);
/* Kills everything below the host. */
void owner_kill_all(void);
/* The processes below the host that are neither the shell, while it is idle, nor the door. */
uint32_t owner_count(void);

#endif
