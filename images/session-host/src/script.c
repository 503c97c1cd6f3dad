#include "script.h"

#include <stdarg.h>
#include <stdio.h>

#include "door.h"
#include "report.h"

/* Behind a line that may fail: errexit leaves it alone, and where there was no door to open PIPESTATUS stays as it was. */
#define KEEP_STATUS " || case 1 in esac\n"

/*
 * A command has no terminal: an editor would wait for keys that nobody types. Programs run an editor's name through a
 * shell, so this one says why it fails. Terminals have what the container has.
 */
#define NO_EDITOR \
  "echo 'No terminal here, so no editor: give the text as an argument (git: -m, --no-edit or GIT_EDITOR=true), " \
  "or use a terminal session.' >&2; false"

/* Adds to a script, of which `*count` bytes are there. */
__attribute__((format(printf, 3, 4))) static void add(char *script, size_t *count, const char *format, ...) {
  va_list values;
  va_start(values, format);
  *count += (size_t)vsnprintf(script + *count, SCRIPT_MAX - *count, format, values);
  va_end(values);
}

/* Sets `$?` and is nothing that errexit or an ERR trap would act on. */
static void add_status(char *script, size_t *count, uint8_t status) {
  if (status == 0) add(script, count, " [[ 1 ]];");
  else if (status == 1) add(script, count, " [[ '' ]] && [[ 1 ]];");
  else add(script, count, " (exit %d) && [[ 1 ]];", status);
}

/*
 * `!` keeps errexit and an ERR trap from acting on the `.` itself, whose status stays in PIPESTATUS. When errexit is set
 * already, `!` would switch it off for the text too, so it is off here and the text sets it.
 */
static void add_source(char *script, size_t *count) {
  static const char format[] = " ! \\. /proc/%d/fd/%d </dev/null >/proc/%d/fd/%d 2>/proc/%d/fd/%d\n";
  int door = (int)door_pid();
  add(script, count, format, door, SLOT_TEXT, door, SLOT_OUT, door, SLOT_ERR);
}

static void add_report(char *script, size_t *count, uint64_t number) {
  unsigned long long n = number;
  add(script, count, REPORT_LINE " 2>/proc/%d/fd/%d" KEEP_STATUS, n, n, (int)door_pid(), SLOT_REPORT);
}

size_t script_start(char *script, const bool restored[SECTIONS]) {
  size_t count = 0;
  /* Not `history -c`: after it, bash 5.2 crashes at a text that ends within `$(`. */
  add(script, &count, " set +H +o history; HISTSIZE=0; unset HISTSIZE; PS1= PS2= PROMPT_COMMAND=\n");
  add(script, &count, " export EDITOR=\"" NO_EDITOR "\" PAGER=cat; export GIT_EDITOR=\"$EDITOR\" VISUAL=\"$EDITOR\"\n");
  for (int i = 0; i < SECTIONS; i++)
    if (restored[i]) add(script, &count, " ! \\. /proc/%d/fd/%d </dev/null\n", (int)door_pid(), SLOT_RESTORE + i);
  return count;
}

size_t script_command(char *script, uint8_t status, bool errexit, uint64_t number) {
  size_t count = 0;
  if (errexit) add(script, &count, " \\set +e;");
  add_status(script, &count, status);
  add_source(script, &count);
  add_report(script, &count, number);
  unsigned long long n = number;
  add(script, &count, " " SNAPSHOT_LINE " >/proc/%d/fd/%d 2>/dev/null" KEEP_STATUS, n, (int)door_pid(), SLOT_SNAPSHOT);
  return count;
}

size_t script_report(char *script, uint64_t number) {
  size_t count = 0;
  add_report(script, &count, number);
  return count;
}

size_t script_prefix(char *script, uint8_t status, bool errexit) {
  size_t count = 0;
  if (!errexit) return 0;
  add(script, &count, "set -e;");
  add_status(script, &count, status);
  return count;
}
