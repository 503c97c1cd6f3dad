/*
 * The session host: see protocol.md.
 *
 *   session-host serve [--socket NAME] [--cwd DIRECTORY] [--orphan-after SECONDS] -- SHELL [ARGUMENTS]
 *   session-host attach [--socket NAME]
 *   session-host door        (started by serve)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attach.h"
#include "door.h"
#include "serve.h"
#include "socket_name.h"

enum { ARGUMENTS_MAX = 32, ORPHAN_MAX = 1000000 };

static unsigned seconds(const char *text) {
  unsigned long value = strtoul(text, NULL, 10);
  return value < ORPHAN_MAX ? (unsigned)value : ORPHAN_MAX;
}

static int usage(void) {
  fputs("usage: session-host serve [--socket NAME] [--cwd DIRECTORY] [--orphan-after SECONDS] -- SHELL [ARGUMENTS]\n"
        "       session-host attach [--socket NAME]\n", stderr);
  return 2;
}

/* The program, then what it finds as its arguments. */
static char *const *shell_of(char **given) {
  static char *shell[ARGUMENTS_MAX + 8] = {0};
  static char *const options[] = {"--noprofile", "--norc", "--noediting", "-i"};
  size_t count = 0;
  shell[count++] = given[0];
  shell[count++] = "bash"; /* its messages begin with it */
  for (size_t i = 0; !given[1] && i < sizeof options / sizeof *options; i++) shell[count++] = options[i];
  for (size_t i = 1; given[i] && i < ARGUMENTS_MAX; i++) shell[count++] = given[i];
  return shell;
}

int main(int count, char **arguments) {
  struct serve options = {.socket = DEFAULT_SOCKET, .directory = "/"};
  if (count < 2) return usage();
  if (strcmp(arguments[1], "door") == 0) return door_main();
  int at = 2;
  for (; at + 1 < count && strcmp(arguments[at], "--"); at += 2) {
    const char *name = arguments[at], *value = arguments[at + 1];
    if (strcmp(name, "--socket") == 0) options.socket = value;
    else if (strcmp(name, "--cwd") == 0) options.directory = value;
    else if (strcmp(name, "--orphan-after") == 0) options.orphan_seconds = seconds(value);
    else return usage();
  }
  if (strcmp(arguments[1], "attach") == 0 && at == count) return attach(options.socket);
  if (strcmp(arguments[1], "serve") != 0 || at + 1 >= count) return usage();
  options.shell = shell_of(arguments + at + 1);
  return serve(&options);
}
