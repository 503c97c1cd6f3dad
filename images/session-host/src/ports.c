#include "ports.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loop.h"
#include "outbox.h"
#include "process.h"

enum {
  INTERVAL_MS = 250,
  /* Listening sockets come first in the kernel's list; what lies far behind thousands of connections is not looked for. */
  READ_MAX = 256 << 10,
  FDS_MAX = 4096,
  NAME_SIZE = 17,
  STATE_LISTEN = 0x0a,
};
enum { V4 = 1, V6 = 2, BEYOND_LOOPBACK = 4 };

struct port {
  uint16_t number;
  uint8_t where;
  unsigned long inode;
  struct process process; /* id 0: hidden */
  char name[NAME_SIZE];
};

struct list {
  struct port ports[PORTS_MAX];
  size_t count;
};

static struct list known;
static uint8_t watching;
static bool asked, changed;
static uint64_t cookie;
static struct timer timer;

static bool is_loopback(const char *address) {
  size_t length = strlen(address);
  if (length == 8) return strcmp(address + 6, "7F") == 0;
  return strcmp(address, "00000000000000000000000001000000") == 0 || strncmp(address, "0000000000000000FFFF0000", 24) == 0;
}

static void note(struct list *list, unsigned number, uint8_t where, unsigned long inode) {
  for (size_t i = 0; i < list->count; i++) {
    if (list->ports[i].number != number) continue;
    list->ports[i].where |= where;
    return;
  }
  if (list->count == PORTS_MAX) return;
  list->ports[list->count++] = (struct port){.number = (uint16_t)number, .where = where, .inode = inode};
}

static void read_line(struct list *list, const char *line, uint8_t family) {
  char address[33];
  unsigned port, state;
  unsigned long inode;
  int fields = sscanf(line, " %*u: %32[0-9A-F]:%4X %*[0-9A-F]:%*X %2X %*s %*s %*s %*u %*u %lu", address, &port, &state, &inode);
  if (fields != 4 || state != STATE_LISTEN) return;
  note(list, port, family | (is_loopback(address) ? 0 : BEYOND_LOOPBACK), inode);
}

static void read_table(struct list *list, const char *path, uint8_t family) {
  static char text[READ_MAX + 1];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  size_t count = 0;
  for (ssize_t part; count < READ_MAX && (part = read(fd, text + count, READ_MAX - count)) > 0;) count += (size_t)part;
  close(fd);
  text[count] = 0;
  for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    read_line(list, line, family);
  }
}

static struct port *holder_wanted(struct list *list, unsigned long inode) {
  for (size_t i = 0; i < list->count; i++)
    if (list->ports[i].inode == inode && !list->ports[i].process.id) return &list->ports[i];
  return NULL;
}

static void read_name(pid_t id, char *name) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/comm", (int)id);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t count = fd < 0 ? 0 : read(fd, name, NAME_SIZE - 1);
  if (fd >= 0) close(fd);
  name[count > 0 ? count : 0] = 0;
  for (char *at = name; *at; at++)
    if ((unsigned char)*at < ' ') *at = at[1] ? '?' : 0;
}

static void look_into(struct list *list, const struct process *process) {
  char path[64], target[64];
  snprintf(path, sizeof path, "/proc/%d/fd", (int)process->id);
  DIR *directory = opendir(path);
  if (!directory) return;
  int left = FDS_MAX;
  for (struct dirent *entry; left-- && (entry = readdir(directory));) {
    ssize_t count = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
    unsigned long inode;
    target[count > 0 ? count : 0] = 0;
    struct port *port = sscanf(target, "socket:[%lu]", &inode) == 1 ? holder_wanted(list, inode) : NULL;
    if (!port) continue;
    port->process = *process;
    read_name(process->id, port->name);
  }
  closedir(directory);
}

/* The youngest process that holds it is the program; those before it may only have passed it on. */
static void find_programs(struct list *list) {
  const struct processes *all = processes_scan();
  for (size_t i = all->count; i-- > 0;)
    if (!all->list[i].zombie && all->list[i].id != getpid()) look_into(list, &all->list[i]);
}

static int by_number(const void *a, const void *b) {
  return ((const struct port *)a)->number - ((const struct port *)b)->number;
}

static bool is_same(const struct list *list) {
  if (list->count != known.count) return false;
  for (size_t i = 0; i < list->count; i++) {
    const struct port *a = &list->ports[i], *b = &known.ports[i];
    if (a->number != b->number || a->inode != b->inode || a->where != b->where) return false;
  }
  return true;
}

/* Two short files are read; processes are looked through only when the list has changed. */
static void look(void) {
  static struct list list;
  list.count = 0;
  read_table(&list, "/proc/net/tcp", V4);
  read_table(&list, "/proc/net/tcp6", V6);
  qsort(list.ports, list.count, sizeof *list.ports, by_number);
  if (is_same(&list)) return;
  find_programs(&list);
  known = list;
  changed = true;
}

static void on_timer(struct timer *fired) {
  look();
  timer_set(fired, INTERVAL_MS);
}

void ports_ask(uint64_t number, uint8_t watch) {
  cookie = number;
  watching = watch;
  asked = true;
  timer.fire = on_timer;
  if (watch == WATCH_TIME) timer_set(&timer, INTERVAL_MS);
  else timer_stop(&timer);
  look();
}

static uint32_t age_of(const struct process *process) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  uint64_t start = process->start / (uint64_t)sysconf(_SC_CLK_TCK);
  return process->id && (uint64_t)now.tv_sec > start ? (uint32_t)((uint64_t)now.tv_sec - start) : 0;
}

static void say_port(const struct port *port) {
  say16(port->number);
  say8(port->where);
  say32((uint32_t)port->process.id);
  say32(age_of(&port->process));
  say_string(port->name);
}

void ports_go_on(void) {
  if (!(asked || (changed && watching)) || !outbox_has_room()) return;
  say_begin(LISTENING);
  say64(cookie);
  say16((uint16_t)known.count);
  for (size_t i = 0; i < known.count; i++) say_port(&known.ports[i]);
  say_end();
  asked = changed = false;
}

void ports_check(void) {
  if (watching) look();
  ports_go_on();
}

void ports_abandon(void) {
  timer_stop(&timer);
  watching = WATCH_NOT;
  asked = changed = false;
}
