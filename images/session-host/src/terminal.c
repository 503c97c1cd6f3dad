#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "child.h"
#include "owner.h"
#include "shell.h"

enum { PATIENCE_MS = 2000 };

struct terminal {
  struct channel *channel;
  pid_t process;  /* the first one, and the number of the session */
  bool running;
  bool hung_up;
  int code;
  dev_t device;
  struct watch input; /* a descriptor of its own, so that reading and writing wait apart */
  uint8_t *queue;     /* INPUT_MAX bytes, taken when input first has to wait */
  size_t queue_start, queue_count;
  uint64_t taken, told;
  struct timer patience;
  struct terminal *next;
};

static struct terminal *terminals;

/* ---- starting ---- */

static int open_slave(int master, uint16_t rows, uint16_t columns) {
  struct winsize size = {.ws_row = rows, .ws_col = columns};
  if (grantpt(master) < 0 || unlockpt(master) < 0 || ioctl(master, TIOCSWINSZ, &size) < 0) return -1;
  const char *name = ptsname(master);
  return name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
}

static char **pointers(const char *strings, size_t count, char **list) {
  for (size_t i = 0; i < count; i++) {
    list[i] = (char *)strings;
    strings += strlen(strings) + 1;
  }
  list[count] = NULL;
  return list + count;
}

static bool same_name(const char *a, const char *b) {
  size_t length = strcspn(a, "=");
  return strncmp(a, b, length + 1) == 0;
}

/* The host's variables with those of the request in front of them or in their place. */
static char **variables_of(const struct request *request) {
  size_t own = 0;
  while (environ[own]) own++;
  char **list = malloc((request->variable_count + own + 1) * sizeof *list);
  if (!list) return NULL;
  char **end = pointers(request->variables, request->variable_count, list);
  for (size_t i = 0; i < own; i++) {
    bool replaced = false;
    for (char **given = list; given < list + request->variable_count; given++) replaced |= same_name(*given, environ[i]);
    if (!replaced) *end++ = environ[i];
  }
  *end = NULL;
  return list;
}

static pid_t start(const struct request *request, int slave) {
  char **arguments = malloc((request->argument_count + 1) * sizeof *arguments), **variables = variables_of(request);
  pid_t process = -1;
  errno = ENOMEM;
  if (arguments && variables) {
    pointers(request->arguments, request->argument_count, arguments);
    char *const shell[] = {"bash", "-i", NULL};
    bool given = request->argument_count > 0;
    struct child child = {given ? arguments[0] : shell_program(), given ? arguments : shell,  variables,
                          request->directory,                     {slave, slave, slave},      true, true};
    process = child_start(&child);
  }
  int error = errno;
  free(arguments);
  free(variables);
  return errno = error, process;
}

static void on_writable(struct watch *watch, uint32_t events);
static void on_impatience(struct timer *timer);

static dev_t device_of(int fd) {
  struct stat status;
  return fstat(fd, &status) == 0 ? status.st_rdev : 0;
}

static void add(struct channel *channel, struct terminal *terminal, int master, size_t ring) {
  terminal->channel = channel;
  terminal->running = true;
  terminal->next = terminals;
  terminal->input.ready = on_writable;
  terminal->patience.fire = on_impatience;
  terminals = terminal;
  channel->terminal = terminal;
  stream_open(&channel->streams[0], master, ring);
}

bool terminal_open(struct channel *channel, const struct request *request) {
  struct terminal *terminal = calloc(1, sizeof *terminal);
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  int slave = master < 0 ? -1 : open_slave(master, request->rows, request->columns);
  int input = slave < 0 ? -1 : fcntl(master, F_DUPFD_CLOEXEC, 0);
  pid_t process = input < 0 || !terminal ? -1 : start(request, slave);
  int error = errno;
  if (process > 0) {
    *terminal = (struct terminal){.process = process, .device = device_of(slave), .input.fd = input};
    add(channel, terminal, master, request->ring);
  }
  if (slave >= 0) close(slave);
  if (process > 0) return true;
  if (input >= 0) close(input);
  if (master >= 0) close(master);
  free(terminal);
  return errno = error, false;
}

/* ---- input ---- */

static void take(struct terminal *terminal, size_t count) {
  terminal->taken += count;
  terminal->queue_start += count;
  terminal->queue_count -= count;
  if (terminal->queue_count) return;
  free(terminal->queue);
  terminal->queue = NULL;
  terminal->queue_start = 0;
}

static void write_queue(struct terminal *terminal) {
  while (terminal->queue_count && terminal->input.fd >= 0) {
    ssize_t count = write(terminal->input.fd, terminal->queue + terminal->queue_start, terminal->queue_count);
    if (count < 0 && errno == EAGAIN) break;
    take(terminal, count > 0 ? (size_t)count : terminal->queue_count); /* nobody reads any more: it goes nowhere */
  }
  watch_set(&terminal->input, terminal->queue_count ? EPOLLOUT : 0);
}

static void on_writable(struct watch *watch, uint32_t events) {
  (void)events;
  write_queue(CONTAINER(watch, struct terminal, input));
}

bool terminal_input(struct terminal *terminal, const uint8_t *bytes, size_t count) {
  if (count > INPUT_MAX - terminal->queue_count) return false;
  if (!terminal->queue) terminal->queue = malloc(INPUT_MAX);
  if (!terminal->queue) return false;
  memmove(terminal->queue, terminal->queue + terminal->queue_start, terminal->queue_count);
  terminal->queue_start = 0;
  memcpy(terminal->queue + terminal->queue_count, bytes, count);
  terminal->queue_count += count;
  write_queue(terminal);
  return true;
}

bool terminal_took_input(struct terminal *terminal, uint64_t *total) {
  bool news = terminal->taken != terminal->told;
  *total = terminal->told = terminal->taken;
  return news;
}

void terminal_tell_input(struct terminal *terminal) { terminal->told = UINT64_MAX; }

/* ---- control ---- */

void terminal_resize(struct terminal *terminal, uint16_t rows, uint16_t columns) {
  struct winsize size = {.ws_row = rows, .ws_col = columns};
  if (terminal->input.fd >= 0) ioctl(terminal->input.fd, TIOCSWINSZ, &size);
}

void terminal_signal(struct terminal *terminal, int signal, int scope) {
  if (scope == 0 && terminal->running) kill(terminal->process, signal); /* not reaped: the number is still its own */
  if (scope == 0 || terminal->input.fd < 0) return;
  pid_t group = tcgetpgrp(terminal->input.fd);
  if (group > 1) kill(-group, signal);
}

static void on_impatience(struct timer *timer) {
  owner_signal(CONTAINER(timer, struct terminal, patience)->channel->id, SIGKILL);
}

/* Closing the master end is what hangs up. */
void terminal_hang_up(struct terminal *terminal) {
  if (terminal->hung_up) return;
  terminal->hung_up = true;
  watch_close(&terminal->input);
  watch_close(&terminal->channel->streams[0].watch);
  terminal_signal(terminal, SIGHUP, 0);
  timer_set(&terminal->patience, PATIENCE_MS);
}

/* ---- the end ---- */

bool terminal_reaped(pid_t process, int status) {
  for (struct terminal *terminal = terminals; terminal; terminal = terminal->next) {
    if (terminal->process != process || !terminal->running) continue;
    terminal->running = false;
    terminal->code = exit_code(status);
    return true;
  }
  return false;
}

/* What the terminal still holds is read first, as far as the client lets it. */
static void settle_end(struct terminal *terminal) {
  struct channel *channel = terminal->channel;
  struct stream *stream = &channel->streams[0];
  if (terminal->running || channel->ended) return;
  stream_read(stream);
  stream_mark(stream);
  if (stream->end > stream->ring.end) return;
  channel_end(channel, TERMINAL_ENDED, terminal->code, "");
}

static bool is_over(const struct terminal *terminal) {
  return terminal->hung_up && !terminal->running && !terminal->patience.armed;
}

void terminals_settle(void) {
  for (struct terminal **link = &terminals; *link;) {
    struct terminal *terminal = *link;
    settle_end(terminal);
    if (!is_over(terminal)) {
      link = &terminal->next;
      continue;
    }
    *link = terminal->next;
    terminal->channel->terminal = NULL;
    free(terminal->queue);
    free(terminal);
  }
}

uint32_t terminal_of_session(pid_t session) {
  for (struct terminal *terminal = terminals; terminal; terminal = terminal->next)
    if (terminal->process == session) return terminal->channel->id;
  return 0;
}

uint32_t terminal_of_device(dev_t device) {
  for (struct terminal *terminal = terminals; terminal; terminal = terminal->next)
    if (terminal->device == device) return terminal->channel->id;
  return 0;
}

struct terminal *terminal_find(uint32_t channel) {
  for (struct terminal *terminal = terminals; terminal; terminal = terminal->next)
    if (terminal->channel->id == channel) return terminal;
  return NULL;
}

uint32_t terminals_count(void) {
  uint32_t count = 0;
  for (struct terminal *terminal = terminals; terminal; terminal = terminal->next) count += terminal->running;
  return count;
}
