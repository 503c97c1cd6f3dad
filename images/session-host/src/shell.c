#include "shell.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child.h"
#include "door.h"
#include "owner.h"
#include "pipes.h"
#include "pour.h"
#include "process.h"
#include "report.h"
#include "script.h"
#include "snapshot.h"

enum {
  UNREAD_MAX = 1024,  /* so much before bash gets a second report's line */
  REPORT_READS = 8,   /* then others have their turn */
  SHORT_LIFE_MS = 1000,
  SHORT_LIVES_MAX = 3,
  RETRY_MS = 200,
};
static const char OWN_BASH[] = "/opt/berth/bash";

/* A command on its way. */
struct command {
  struct channel *channel; /* NULL: none */
  char *text;              /* until it is poured */
  size_t count;
  uint8_t status;          /* what `$?` shall be */
  uint64_t number;         /* of its report */
  bool fed;                /* the lines were given to bash */
  bool interrupted;
  bool retried;
};

/* What became of it, from the report or the shell's death until it can be handed over. */
struct result {
  bool due;
  enum how how;
  int code;
};

static const char *home;
static char *const *shell_arguments;
static const char *program;

static pid_t pid;
static uint32_t generation, latest;
static uint64_t snapshot_due; /* the number of the one that the shell is to write; 0: none */
static bool is_new;
static bool starting;   /* the first lines are still to be given to it */
static bool laid;       /* the door holds all that bash may have to open */
static bool distrusted; /* functions and aliases kept the last shell from running a command */
static bool errexit;    /* as the last command left it */
static bool wanted;     /* whoever killed the shell wants another */
static uint64_t started_at;
static int input = -1;
static struct line reports = {.watch = {.fd = -1}, .far = -1}, snapshots = {.watch = {.fd = -1}, .far = -1};
static struct report_reader reader;
static struct pipes pipes;
static struct command command;
static struct result result;
static struct pour text_pour = {.watch = {.fd = -1}};
static struct pour restore_pours[SECTIONS];
static bool restored[SECTIONS]; /* the section has a text to be read */
static char directory[DIRECTORY_MAX];
static int null_fd;
static struct timer retry;

pid_t shell_pid(void) { return pid; }
uint32_t shell_generation(void) { return generation; }
uint32_t shell_running(void) { return command.channel ? command.channel->id : 0; }
uint32_t shell_latest(void) { return latest; }
const char *shell_directory(void) { return directory; }
const char *shell_program(void) { return program; }
bool shell_is_finishing(void) { return result.due; }
bool shell_is_free(void) { return !command.channel; }
bool shell_is_unused(void) { return latest == 0; }
bool shell_is_writing(void) { return snapshot_due && snapshot_due != snapshot_number(); }

bool shell_is_new(void) {
  bool news = is_new;
  is_new = false;
  return news;
}

/* ---- what bash opens ---- */

/* Puts everything that bash may have to open into the door, and what is over out of it. */
static void lay_all(void) {
  struct lay list[] = {
      {SLOT_REPORT, reports.far >= 0 ? reports.far : null_fd},
      {SLOT_SNAPSHOT, snapshots.far >= 0 ? snapshots.far : null_fd},
      {SLOT_TEXT, pipes.made ? pipes.text[0] : null_fd},
      {SLOT_OUT, pipes.made ? pipes.out[1] : null_fd},
      {SLOT_ERR, pipes.made ? pipes.err[1] : null_fd},
  };
  laid = false;
  door_lay(list, sizeof list / sizeof *list);
}

/* ---- what bash reads ---- */

/* All or nothing; the pipe has room for what a shell is given before it has to read. */
static void feed(const char *script, size_t count) {
  if (input < 0 || write(input, script, count) < 0) return; /* it is dying */
}

/* The line once more. A shell that does not read gets no more than it can be expected to read. */
static void feed_report(uint64_t number) {
  char script[SCRIPT_MAX];
  int waiting = 0;
  if (input < 0 || ioctl(input, FIONREAD, &waiting) < 0 || waiting > UNREAD_MAX) return;
  feed(script, script_report(script, number));
}

static void feed_start(void) {
  char script[SCRIPT_MAX];
  feed(script, script_start(script, restored));
}

static void pour_text(void) {
  char prefix[SCRIPT_MAX];
  size_t extra = script_prefix(prefix, command.status, errexit);
  char *text = extra ? realloc(command.text, command.count + extra) : NULL;
  if (text) {
    memmove(text + extra, text, command.count);
    memcpy(text, prefix, extra);
    command.text = text;
    command.count += extra;
  }
  pipes_widen(&pipes, command.count);
  pour_begin(&text_pour, pipes.text[1], command.text, command.count);
  pipes.text[1] = -1;
  command.text = NULL;
}

static void feed_command(void) {
  char script[SCRIPT_MAX], path[SCRUB_MAX / 2];
  snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)door_pid(), SLOT_TEXT);
  stream_scrub(&command.channel->streams[1], path);
  if (command.text) pour_text();
  command.fed = true;
  snapshot_due = command.number;
  feed(script, script_command(script, command.status, errexit, command.number));
}

/* ---- starting ---- */

static bool is_restored(enum section section) {
  return !distrusted || (section != SECTION_FUNCTIONS && section != SECTION_ALIASES);
}

static void restore_section(enum section section) {
  int ends[2];
  size_t count;
  pour_stop(&restore_pours[section]);
  restored[section] = false;
  char *text = is_restored(section) ? snapshot_section(section, &count) : NULL;
  if (!text || pipe2(ends, O_CLOEXEC) < 0) return free(text);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  struct lay lay = {SLOT_RESTORE + section, ends[0]};
  door_lay(&lay, 1);
  close(ends[0]);
  pour_begin(&restore_pours[section], ends[1], text, count);
  restored[section] = true;
}

static pid_t spawn(int stdin_fd) {
  const char *const directories[] = {directory, home, "/"}, *const programs[] = {program, OWN_BASH};
  pid_t started = -1;
  for (int p = 0; p < 2 && started < 0; p++)
    for (int d = 0; d < 3 && started < 0; d++) {
      setenv("PWD", directories[d], 1);
      struct child child = {programs[p], shell_arguments, NULL, directories[d], {stdin_fd, null_fd, null_fd}, false, true};
      started = child_start(&child);
      if (started < 0) continue;
      program = programs[p];
      if (directories[d] != directory) snprintf(directory, sizeof directory, "%s", directories[d]);
    }
  int error = errno;
  unsetenv("PWD");
  return errno = error, started;
}

static bool start(void) {
  int ends[2];
  if (!line_make(&reports, SMALL_PIPE) || !line_make(&snapshots, SNAPSHOT_PIPE) || pipe2(ends, O_CLOEXEC) < 0) return false;
  pid_t started = spawn(ends[0]);
  int error = errno;
  close(ends[0]);
  if (started < 0) return close(ends[1]), errno = error, false;
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  fcntl(ends[1], F_SETPIPE_SZ, INPUT_PIPE);
  input = ends[1];
  pid = started;
  generation++;
  is_new = starting = true;
  wanted = errexit = false;
  started_at = loop_now();
  reader.count = 0;
  snapshot_due = 0;
  snapshot_restart();
  for (int i = 0; i < SECTIONS; i++) restore_section(i);
  distrusted = false;
  return true;
}

/* ---- the end of a command ---- */

/* bash reads the whole text before it runs any of it: as long as all is still there, nothing was run. */
static bool is_unread(void) {
  int waiting = 0;
  return text_pour.done > 0 && ioctl(pipes.text[0], FIONREAD, &waiting) == 0 && (size_t)waiting == text_pour.done;
}

static void finish(enum how how, int code) {
  struct channel *channel = command.channel;
  result = (struct result){true, how, code};
  for (int i = 0; i < 2; i++) stream_mark(&channel->streams[i]);
  channel->jobs = owner_survey(channel->id);
  pour_stop(&text_pour);
  text_pour.done = 0;
  free(command.text);
  command.text = NULL;
  pipes_close(&pipes);
  pipes_make(&pipes);
  lay_all();
}

static void set_directory(const char *said) {
  char link[64];
  struct stat here, there;
  snprintf(link, sizeof link, "/proc/%d/cwd", (int)pid);
  bool known = stat(link, &here) == 0;
  bool same = known && *said && stat(said, &there) == 0 && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
  if (same || (known && *said && here.st_nlink == 0)) snprintf(directory, sizeof directory, "%s", said);
  else process_directory(pid, directory, sizeof directory);
}

/* The shell came past the command without having read it. */
static void pass_unread(void) {
  if (command.interrupted) return finish(NOT_RUN, 128 + SIGINT);
  if (command.retried) return finish(NOT_RUN, 1);
  command.retried = true;
  command.fed = false;
  distrusted = wanted = true;
  kill(pid, SIGKILL);
}

static void take_report(const struct report *report) {
  set_directory(report->directory);
  errexit = report->errexit;
  if (is_unread()) return pass_unread();
  bool cut_short = command.interrupted && report->number != command.number; /* its status went with the first report */
  finish(REPORTED, cut_short ? 128 + SIGINT : report->status);
}

static void on_reports(struct watch *watch, uint32_t events) {
  (void)events;
  for (int i = 0; i < REPORT_READS; i++) {
    struct report report;
    size_t room;
    char *place = report_place(&reader, &room);
    ssize_t count = read(watch->fd, place, room);
    if (count <= 0) return;
    bool expected = command.channel && command.fed && !result.due;
    if (report_take(&reader, (size_t)count, expected ? command.number : 0, &report) && expected) return take_report(&report);
  }
}

static void on_snapshots(struct watch *watch, uint32_t events) {
  (void)events;
  static char bytes[65536];
  ssize_t count = read(watch->fd, bytes, sizeof bytes);
  if (count > 0) snapshot_take(bytes, (size_t)count);
}

static void die_running(int code) {
  if (!is_unread()) return finish(SHELL_DIED, code);
  if (command.retried || command.interrupted) return finish(NOT_RUN, code);
  command.retried = true;
  command.fed = false;
}

/* A shell that keeps dying is not started again before somebody needs it. */
static void restart(void) {
  static int short_lives;
  short_lives = loop_now() - started_at < SHORT_LIFE_MS ? short_lives + 1 : 0;
  if (short_lives > SHORT_LIVES_MAX && !wanted && !command.channel) return;
  if (start()) return lay_all();
  if (errno == EAGAIN || errno == ENOMEM || errno == EMFILE || errno == ENFILE) return timer_set(&retry, RETRY_MS);
  if (command.channel && !result.due) finish(NOT_RUN, 127);
}

bool shell_reaped(pid_t process, int status) {
  if (process != pid || pid <= 0) return false;
  on_reports(&reports.watch, 0);
  on_snapshots(&snapshots.watch, 0);
  pid = 0;
  close_end(&input);
  if (command.channel && command.fed && !result.due) die_running(exit_code(status));
  restart();
  return true;
}

static void on_retry(struct timer *timer) {
  (void)timer;
  wanted = true;
  if (pid <= 0) restart();
}

/* ---- the door ---- */

static void on_laid(void) {
  laid = true;
  if (pid > 0 && starting) feed_start(), starting = false;
  if (pid <= 0 || !command.channel || result.due) return;
  if (command.fed) feed_report(command.number + 1); /* the first report may have found no door */
  else feed_command();
}

static void deliver(void) {
  struct channel *channel = command.channel;
  channel_end(channel, result.how, result.code, directory);
  if (result.how == NOT_RUN && pid > 0) is_new = true; /* says that a shell is there, be it the same */
  command = (struct command){0};
  result = (struct result){0};
}

void shell_settle(void) {
  if (!result.due || !laid) return;
  struct stream *streams = command.channel->streams;
  for (int i = 0; i < 2; i++) stream_read(&streams[i]);
  if (streams[0].end_known && streams[1].end_known) deliver();
}

/* ---- what is asked of it ---- */

static uint64_t random_number(void) {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number) number = loop_now() << 20;
  return (number >> 2 | 1ULL << 60) & ~1ULL;
}

bool shell_run(struct channel *channel, uint8_t status, char *text, size_t count) {
  bool lay = !pipes.made || pid <= 0;
  if (!pipes.made && !pipes_make(&pipes)) return false;
  if (pid <= 0 && !start()) return false;
  command = (struct command){.channel = channel, .text = text, .count = count, .status = status, .number = random_number()};
  latest = channel->id;
  stream_open(&channel->streams[0], pipes.out[0], 0);
  stream_open(&channel->streams[1], pipes.err[0], 0);
  pipes.out[0] = pipes.err[0] = -1;
  if (lay) lay_all();
  else if (laid) feed_command();
  return true;
}

/* An interrupt may take the report's line with it, so bash gets a second one; the first that comes counts. */
void shell_signal(int signal) {
  if (pid <= 0 || !command.channel || result.due) return;
  if (!command.fed) return finish(NOT_RUN, 128 + signal);
  kill(pid, signal);
  if (signal != SIGINT) return;
  command.interrupted = true;
  feed_report(command.number + 1);
}

void shell_reset(bool keep) {
  if (!keep) {
    snapshot_clear();
    snprintf(directory, sizeof directory, "%s", home);
  }
  wanted = true;
  if (pid > 0) kill(pid, SIGKILL);
  owner_kill_commands();
  if (command.channel && !command.fed && !result.due) finish(NOT_RUN, 128 + SIGKILL);
  if (pid <= 0) restart();
}

void shell_resume(const char *where) {
  snprintf(directory, sizeof directory, "%s", where);
  shell_reset(true);
}

void shell_open(const char *start_directory, char *const *arguments) {
  home = start_directory;
  shell_arguments = arguments + 1;
  program = arguments[0];
  retry.fire = on_retry;
  null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
  reports.watch.ready = on_reports;
  snapshots.watch.ready = on_snapshots;
  snprintf(directory, sizeof directory, "%s", home);
  for (int i = 0; i < SECTIONS; i++) restore_pours[i].watch.fd = -1;
  pipes_make(&pipes);
  wanted = true;
  door_open(on_laid, lay_all);
  restart();
}
