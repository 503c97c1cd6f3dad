/* Starting programs. A child holds its three descriptors and nothing else of the host. */
#ifndef CHILD_H
#define CHILD_H
#include <stdbool.h>
#include <sys/types.h>

struct child {
  const char *program;     /* a path, or a name to be looked up in PATH */
  char *const *arguments;
  char *const *variables;
  const char *directory;   /* NULL: the host's */
  int stdio[3];
  bool terminal;           /* stdio[0] becomes its controlling terminal */
  bool sacrificed;         /* the kernel kills it before the host when memory runs out */
};

/* Remembers the limits and the signal mask that children shall have, and raises the host's own limits. */
void child_prepare(void);
/* The process, leader of a session of its own; -1 with errno when the program could not be started. */
pid_t child_start(const struct child *child);
/* As a shell shows the end of a process: 128 + n for signal n. */
int exit_code(int status);

#endif
