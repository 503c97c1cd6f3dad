#include "owner.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "channel.h"
#include "door.h"
#include "shell.h"
#include "terminal.h"

enum { ROOTS_MAX = 4096, FEW_ROUNDS = 4, MANY_ROUNDS = 20 };

/* A process that a command left behind. */
struct root {
  pid_t id;
  uint64_t start;
  uint32_t channel;
};

static struct root roots[ROOTS_MAX];
static size_t root_count;

static const struct root *find_root(const struct process *process) {
  for (size_t i = 0; i < root_count; i++)
    if (roots[i].id == process->id && roots[i].start == process->start) return &roots[i];
  return NULL;
}

static void prune_roots(void) {
  size_t kept = 0;
  for (size_t i = 0; i < root_count; i++) {
    struct process process;
    bool alive = process_read(roots[i].id, &process) && process.start == roots[i].start && !process.zombie;
    if (alive) roots[kept++] = roots[i];
  }
  root_count = kept;
}

static uint32_t channel_of_file(const struct stat *status) {
  if (S_ISFIFO(status->st_mode)) return channel_of_pipe(status->st_ino);
  return S_ISCHR(status->st_mode) ? terminal_of_device(status->st_rdev) : 0;
}

/* The channel whose output or terminal a process holds. */
static uint32_t channel_held_by(pid_t id) {
  for (int fd = 0; fd <= 2; fd++) {
    struct stat status;
    uint32_t channel = process_file(id, fd, &status) ? channel_of_file(&status) : 0;
    if (channel) return channel;
  }
  return 0;
}

/* The channel of a child of the shell or of an orphan that came to the host. */
static uint32_t channel_of_root(const struct process *process) {
  const struct root *root = find_root(process);
  if (root) return root->channel;
  uint32_t terminal = terminal_of_session(process->session);
  if (terminal) return terminal;
  uint32_t holder = process->parent == getpid() ? channel_held_by(process->id) : 0;
  return holder ? holder : shell_latest();
}

static bool is_own(pid_t id) { return id == shell_pid() || id == door_pid(); }

/* 0 for the host, the shell, the door and what did not come from the host. */
static uint32_t channel_of(const struct process *process, const struct processes *all) {
  pid_t host = getpid(), shell = shell_pid();
  for (size_t depth = 0; process && depth <= all->count; depth++) {
    if (process->id == host || is_own(process->id)) return 0;
    if (process->parent == host || (shell > 0 && process->parent == shell)) return channel_of_root(process);
    process = processes_find(all, process->parent);
  }
  return 0;
}

static uint32_t surveyed;

static void record(const struct process *process) {
  if (is_own(process->id) || root_count == ROOTS_MAX || find_root(process)) return;
  uint32_t channel = channel_of_root(process);
  if (terminal_of_session(process->session)) return;
  roots[root_count++] = (struct root){process->id, process->start, channel ? channel : surveyed};
}

uint16_t owner_survey(uint32_t channel) {
  surveyed = channel;
  prune_roots();
  if (shell_pid() > 0) processes_below(shell_pid(), record);
  processes_below(getpid(), record);
  uint16_t count = 0;
  for (size_t i = 0; i < root_count; i++) count += roots[i].channel == channel;
  return count;
}

static bool is_any(uint32_t channel, uint32_t wanted) { return channel == wanted; }

static bool is_command(uint32_t channel, uint32_t unused) {
  (void)unused;
  return channel && !terminal_find(channel);
}

static bool is_something(uint32_t channel, uint32_t unused) {
  (void)unused;
  return channel != 0;
}

/* Signals what is wanted, for SIGSTOP what is not stopped yet; how many. */
static size_t signal_once(bool (*wanted)(uint32_t, uint32_t), uint32_t channel, int signal) {
  const struct processes *all = processes_scan();
  size_t count = 0;
  for (size_t i = 0; i < all->count; i++) {
    const struct process *process = &all->list[i];
    if (process->zombie || (signal == SIGSTOP && process->stopped)) continue;
    if (wanted(channel_of(process, all), channel)) count += process_signal(process, signal);
  }
  return count;
}

/* Signals until nothing new is found. */
static size_t signal_on(bool (*wanted)(uint32_t, uint32_t), uint32_t channel, int signal, int rounds) {
  size_t count = 0, again = 1;
  for (int round = 0; again && round < rounds; round++) count += again = signal_once(wanted, channel, signal);
  return again ? SIZE_MAX : count;
}

/* What forks faster than it is killed is stopped first: stopped, it keeps its own places among the processes that may be. */
static size_t kill_all(bool (*wanted)(uint32_t, uint32_t), uint32_t channel) {
  size_t count = signal_on(wanted, channel, SIGKILL, FEW_ROUNDS);
  if (count != SIZE_MAX) return count;
  signal_on(wanted, channel, SIGSTOP, MANY_ROUNDS);
  return signal_on(wanted, channel, SIGKILL, MANY_ROUNDS);
}

static size_t signal_all(bool (*wanted)(uint32_t, uint32_t), uint32_t channel, int signal) {
  return signal == SIGKILL ? kill_all(wanted, channel) : signal_once(wanted, channel, signal);
}

bool owner_signal(uint32_t channel, int signal) { return signal_all(is_any, channel, signal) > 0; }
void owner_kill_commands(void) { signal_all(is_command, 0, SIGKILL); }
void owner_kill_all(void) { signal_all(is_something, 0, SIGKILL); }

static bool is_below_host(const struct process *process, const struct processes *all) {
  for (size_t depth = 0; process && depth <= all->count; depth++) {
    if (process->parent == getpid()) return true;
    process = processes_find(all, process->parent);
  }
  return false;
}

uint32_t owner_count(void) {
  const struct processes *all = processes_scan();
  uint32_t count = 0;
  for (size_t i = 0; i < all->count; i++) {
    const struct process *process = &all->list[i];
    bool own = process->id == door_pid() || (process->id == shell_pid() && !shell_running());
    count += !own && !process->zombie && is_below_host(process, all);
  }
  return count;
}
