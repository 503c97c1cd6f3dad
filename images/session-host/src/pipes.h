/* The pipes between bash and the host. */
#ifndef PIPES_H
#define PIPES_H
#include <stdbool.h>
#include <stddef.h>

#include "loop.h"

/* A pipe between bash and the host; the host keeps both ends, so that it never hangs up. */
struct line {
  struct watch watch; /* the end that the host reads */
  int far;            /* the end that the door holds too */
};

/* The pipes of one command. They are made, and laid into the door, before the command comes. */
struct pipes {
  int text[2], out[2], err[2];
  bool made;
};

enum { SMALL_PIPE = 4096, INPUT_PIPE = 16 << 10, SNAPSHOT_PIPE = 32 << 10 };

/* A new pipe of a size in bytes in the place of the old one. False with errno. */
bool line_make(struct line *line, int size);
/* False with errno: there are none. */
bool pipes_make(struct pipes *pipes);
/* For a command whose text has so many bytes. */
void pipes_widen(const struct pipes *pipes, size_t count);
void pipes_close(struct pipes *pipes);
void close_end(int *fd);

#endif
