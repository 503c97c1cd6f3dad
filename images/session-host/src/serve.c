#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "child.h"
#include "client.h"
#include "dial.h"
#include "door.h"
#include "loop.h"
#include "owner.h"
#include "shell.h"
#include "terminal.h"

_Noreturn void serve_end(void) {
  owner_kill_all();
  exit(0);
}

static void reap(void) {
  int status;
  pid_t process;
  while ((process = waitpid(-1, &status, WNOHANG)) > 0)
    if (!shell_reaped(process, status) && !door_reaped(process)) terminal_reaped(process, status);
}

/* As process 1 only what comes from outside the container counts: then the sender has no number in here. */
static int may_end(const struct signalfd_siginfo *signal) {
  return getpid() != 1 || (signal->ssi_code == SI_USER && signal->ssi_pid == 0);
}

static void on_signal(struct watch *watch, uint32_t events) {
  (void)events;
  struct signalfd_siginfo signal;
  while (read(watch->fd, &signal, sizeof signal) == sizeof signal)
    if (signal.ssi_signo != SIGCHLD && may_end(&signal)) serve_end();
  reap();
}

static void watch_signals(void) {
  static struct watch signals = {.ready = on_signal};
  static const int ignored[] = {SIGPIPE, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU};
  for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) signal(ignored[i], SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGCHLD);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, NULL);
  signals.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  watch_set(&signals, EPOLLIN);
}

static int go_silent(void) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return -1;
  for (int fd = 0; fd < 3; fd++)
    if (dup2(null, fd) < 0) return -1;
  if (null > 2) close(null);
  return 0;
}

/* Results first, then what is said of them. */
static void settle(void) {
  shell_settle();
  terminals_settle();
  client_settle();
  dials_settle();
  channels_settle();
}

/* With its parents, as the sandbox's own user. One that cannot be made is missing when the shell looks for it. */
static void make_directory(const char *path) {
  char part[4096];
  if ((size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) return;
  for (char *slash = part; *slash && (slash = strchr(slash + 1, '/'));) {
    *slash = '\0';
    mkdir(part, 0755);
    *slash = '/';
  }
  mkdir(part, 0755);
}

int serve(const struct serve *options) {
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  child_prepare();
  loop_open();
  if (!client_await(options->socket, options->orphan_seconds) || go_silent() < 0) {
    perror("session-host serve");
    return 1;
  }
  watch_signals();
  make_directory(options->directory);
  shell_open(options->directory, options->shell);
  loop_run(settle);
}
