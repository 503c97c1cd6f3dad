#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATH_SIZE = 64, STAT_SIZE = 512, CHILDREN_SIZE = 8192, PROCESSES_MAX = 1 << 16 };

static ssize_t read_file(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t count = read(fd, text, size - 1);
  close(fd);
  if (count >= 0) text[count] = 0;
  return count;
}

bool process_read(pid_t id, struct process *process) {
  char path[PATH_SIZE], text[STAT_SIZE], state;
  snprintf(path, sizeof path, "/proc/%d/stat", (int)id);
  if (read_file(path, text, sizeof text) <= 0) return false;
  char *name_end = strrchr(text, ')');
  int parent, session;
  unsigned long long start;
  static const char fields[] = ") %c %d %*d %d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu";
  if (!name_end || sscanf(name_end, fields, &state, &parent, &session, &start) != 4) return false;
  bool zombie = state == 'Z' || state == 'X', stopped = state == 'T' || state == 't';
  *process = (struct process){id, parent, session, start, zombie, stopped};
  return true;
}

static bool reserve(struct processes *processes) {
  if (processes->count < processes->size) return true;
  size_t size = processes->size ? processes->size * 2 : 64;
  struct process *list = size <= PROCESSES_MAX ? realloc(processes->list, size * sizeof *list) : NULL;
  if (!list) return false;
  processes->list = list;
  processes->size = size;
  return true;
}

static int by_id(const void *a, const void *b) {
  pid_t first = ((const struct process *)a)->id, second = ((const struct process *)b)->id;
  return (first > second) - (first < second);
}

const struct processes *processes_scan(void) {
  static struct processes all;
  all.count = 0;
  DIR *directory = opendir("/proc");
  if (!directory) return &all;
  for (struct dirent *entry; (entry = readdir(directory)) && reserve(&all);)
    if (isdigit((unsigned char)entry->d_name[0]) && process_read(atoi(entry->d_name), &all.list[all.count])) all.count++;
  closedir(directory);
  if (all.count) qsort(all.list, all.count, sizeof *all.list, by_id);
  return &all;
}

const struct process *processes_find(const struct processes *processes, pid_t id) {
  struct process key = {.id = id};
  return processes->count ? bsearch(&key, processes->list, processes->count, sizeof key, by_id) : NULL;
}

static void scan_below(pid_t parent, void (*found)(const struct process *)) {
  const struct processes *all = processes_scan();
  for (size_t i = 0; i < all->count; i++)
    if (all->list[i].parent == parent && !all->list[i].zombie) found(&all->list[i]);
}

void processes_below(pid_t parent, void (*found)(const struct process *child)) {
  static char text[CHILDREN_SIZE];
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
  ssize_t count = read_file(path, text, sizeof text);
  if (count < 0 || count == sizeof text - 1) return scan_below(parent, found); /* not every kernel has it */
  for (char *at = text, *next; *at; at = next) {
    struct process child;
    pid_t id = (pid_t)strtol(at, &next, 10);
    if (next == at) break;
    if (process_read(id, &child) && child.parent == parent && !child.zombie) found(&child);
    while (*next == ' ') next++;
  }
}

/* The descriptor pins the process, so what is read after opening it is that process or nothing. */
bool process_signal(const struct process *process, int signal) {
  struct process current;
  int fd = (int)syscall(SYS_pidfd_open, process->id, 0);
  if (fd < 0 && errno != ENOSYS && errno != EPERM) return false;
  bool same = process_read(process->id, &current) && current.start == process->start && !current.zombie;
  bool sent = same && (fd < 0 ? kill(process->id, signal) : (int)syscall(SYS_pidfd_send_signal, fd, signal, NULL, 0)) == 0;
  if (fd >= 0) close(fd);
  return sent;
}

bool process_file(pid_t id, int fd, struct stat *status) {
  char path[PATH_SIZE];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)id, fd);
  return stat(path, status) == 0;
}

bool process_directory(pid_t id, char *path, size_t size) {
  char link[PATH_SIZE];
  snprintf(link, sizeof link, "/proc/%d/cwd", (int)id);
  ssize_t count = readlink(link, path, size - 1);
  if (count <= 0) return false;
  path[count] = 0;
  return true;
}
