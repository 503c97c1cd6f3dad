#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stranger.h"

enum { OWN_FILES = 4096, SACRIFICE = 200, REPORT_FD = 3 };

static struct rlimit files;
static sigset_t mask;
static int memory_score;

void child_prepare(void) {
  getrlimit(RLIMIT_NOFILE, &files);
  struct rlimit own = files;
  own.rlim_cur = files.rlim_max < OWN_FILES ? files.rlim_max : OWN_FILES;
  setrlimit(RLIMIT_NOFILE, &own);
  sigprocmask(SIG_SETMASK, NULL, &mask);
  FILE *score = fopen("/proc/self/oom_score_adj", "re");
  if (!score) return;
  if (fscanf(score, "%d", &memory_score) != 1) memory_score = 0;
  fclose(score);
}

static void close_from(int first) {
  if (syscall(SYS_close_range, first, ~0U, 0) == 0) return;
  for (int fd = first; fd < OWN_FILES; fd++) close(fd);
}

static void reset_signals(void) {
  struct sigaction action = {.sa_handler = SIG_DFL};
  for (int number = 1; number < NSIG; number++) sigaction(number, &action, NULL);
  sigprocmask(SIG_SETMASK, &mask, NULL);
}

/* /proc/self belongs to root until the process is dumpable, so the secrets go first. */
static void raise_memory_score(void) {
  strangers_erase_token();
  prctl(PR_SET_DUMPABLE, 1);
  int score = memory_score + SACRIFICE > 1000 ? 1000 : memory_score + SACRIFICE;
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  dprintf(fd, "%d", score);
  close(fd);
}

static void become(const struct child *child) {
  setsid();
  for (int i = 0; i < 3; i++)
    if (dup2(child->stdio[i], i) < 0) return;
  if (child->terminal && ioctl(0, TIOCSCTTY, 0) < 0) return;
  close_from(REPORT_FD + 1);
  reset_signals();
  setrlimit(RLIMIT_NOFILE, &files);
  if (child->sacrificed) raise_memory_score();
  if (child->directory && chdir(child->directory) < 0) return;
  if (child->variables) environ = (char **)child->variables;
  execvp(child->program, child->arguments);
}

/* Closed by the exec; carries errno when that fails. */
static _Noreturn void run_child(const struct child *child, int report) {
  if (report == REPORT_FD || dup3(report, REPORT_FD, O_CLOEXEC) == REPORT_FD) become(child);
  int error = errno;
  if (write(REPORT_FD, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

/* Waits for the exec. */
static int start_error(int report) {
  int error = 0;
  ssize_t count;
  do count = read(report, &error, sizeof error);
  while (count < 0 && errno == EINTR);
  return count == (ssize_t)sizeof error ? error : 0;
}

pid_t child_start(const struct child *child) {
  int report[2];
  if (pipe2(report, O_CLOEXEC) < 0) return -1;
  pid_t process = fork();
  if (process == 0) run_child(child, report[1]);
  close(report[1]);
  int error = process < 0 ? errno : start_error(report[0]);
  close(report[0]);
  if (process < 0 || error == 0) return errno = error, process;
  waitpid(process, NULL, 0);
  return errno = error, -1;
}

int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }
