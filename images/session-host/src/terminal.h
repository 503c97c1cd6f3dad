/* A program on a pseudo-terminal. */
#ifndef TERMINAL_H
#define TERMINAL_H
#include "channel.h"
#include "frame.h"

enum { INPUT_MAX = 65536 };

/* Starts it on a new channel. False with errno. */
bool terminal_open(struct channel *channel, const struct request *request);
/* False when more than INPUT_MAX bytes would be on their way. */
bool terminal_input(struct terminal *terminal, const uint8_t *bytes, size_t count);
void terminal_resize(struct terminal *terminal, uint16_t rows, uint16_t columns);
/* Scope 0 the first process, 1 the foreground group. */
void terminal_signal(struct terminal *terminal, int signal, int scope);
/* Hangs up; what does not end by that is killed. */
void terminal_hang_up(struct terminal *terminal);
/* A child was reaped; true when it was the first process of a terminal. */
bool terminal_reaped(pid_t process, int status);
/* True once for each time that input was taken; `*total` bytes in all. */
bool terminal_took_input(struct terminal *terminal, uint64_t *total);
/* A new client does not know how much was taken: it is told once more. */
void terminal_tell_input(struct terminal *terminal);
/* The channel of the terminal whose session this is; 0 when there is none. */
uint32_t terminal_of_session(pid_t session);
/* The channel of the terminal that this device is; 0 when it is none. */
uint32_t terminal_of_device(dev_t device);
/* The terminal of a channel, forgotten or not; NULL when it has none. */
struct terminal *terminal_find(uint32_t channel);
/* Ends the channels of terminals whose process is gone and whose output is read. */
void terminals_settle(void);
uint32_t terminals_count(void);

#endif
