/* Processes as /proc shows them. A process is its number and its start together: numbers are used again. */
#ifndef PROCESS_H
#define PROCESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct process {
  pid_t id, parent, session;
  uint64_t start; /* clock ticks since boot */
  bool zombie, stopped;
};

struct processes {
  struct process *list; /* by ascending id */
  size_t count, size;
};

bool process_read(pid_t id, struct process *process);
/* All that can be seen. The storage is reused from call to call. */
const struct processes *processes_scan(void);
const struct process *processes_find(const struct processes *processes, pid_t id);
/* Calls `found` for every child of a process that is alive. */
void processes_below(pid_t parent, void (*found)(const struct process *child));
/* Signals exactly this process: never one that took over its number. */
bool process_signal(const struct process *process, int signal);
/* What descriptor `fd` of a process leads to; false when it is closed or hidden. */
bool process_file(pid_t id, int fd, struct stat *status);
/* Where a process is, as the kernel says; false when that is unknown. */
bool process_directory(pid_t id, char *path, size_t size);

#endif
