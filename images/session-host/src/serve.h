#ifndef SERVE_H
#define SERVE_H

struct serve {
  const char *socket, *directory;
  unsigned orphan_seconds;
  char *const *shell; /* the program, then its arguments from the name on */
};

/* Runs the host; returns only when it could not begin. */
int serve(const struct serve *options);
/* Kills everything and ends the host. */
_Noreturn void serve_end(void);

#endif
