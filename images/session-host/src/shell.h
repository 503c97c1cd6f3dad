/* The shell that runs commands one after another and keeps their state. */
#ifndef SHELL_H
#define SHELL_H
#include "channel.h"

/* Starts the door and the shell. `program` with `arguments` reads commands from its stdin; bash is expected. */
void shell_open(const char *directory, char *const *arguments);
/* A command may be given: none is running or about to. */
bool shell_is_free(void);
/* No command was ever given. */
bool shell_is_unused(void);
/* The snapshot of the last command is still to come. */
bool shell_is_writing(void);
/* Runs a text, which becomes the shell's and ends in a newline. False with errno: no shell, or no pipes. */
bool shell_run(struct channel *channel, uint8_t status, char *text, size_t count);
/* Signals the shell itself. */
void shell_signal(int signal);
/* Kills it with all that commands started; the next one begins clean, or with the directory and the snapshot. */
void shell_reset(bool keep);
/* The same, in a directory that may be gone, for a snapshot that came from elsewhere. */
void shell_resume(const char *directory);
/* A child was reaped; true when it was the shell. */
bool shell_reaped(pid_t process, int status);
/* Hands over results that are complete. */
void shell_settle(void);

/* A command has ended and its result is not handed over yet. */
bool shell_is_finishing(void);

pid_t shell_pid(void); /* 0 when there is none */
uint32_t shell_generation(void);
uint32_t shell_running(void); /* the channel, 0 when idle */
uint32_t shell_latest(void);  /* the running channel or the last one */
const char *shell_directory(void);
const char *shell_program(void);
/* True once for every shell that was started, and after a command that did not run. */
bool shell_is_new(void);

#endif
