/* Bytes on their way into a pipe, which is closed behind them. */
#ifndef POUR_H
#define POUR_H
#include "loop.h"

struct pour {
  struct watch watch; /* its fd is -1 when nothing is on its way */
  char *bytes;
  size_t count, done;
};

/* Takes both the descriptor and the bytes. */
void pour_begin(struct pour *pour, int fd, char *bytes, size_t count);
void pour_stop(struct pour *pour);

#endif
