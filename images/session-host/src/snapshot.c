#include "snapshot.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The backslashes keep aliases away. A section that could not be written leaves the snapshot without its last mark. */
const char snapshot_line[] =
    "{ \\builtin printf 'begin\\0'"
    " && \\builtin umask -p && \\builtin printf '\\0'"
    " && { \\builtin shopt -p; \\builtin printf '\\0'; }"
    " && \\builtin declare -f && \\builtin declare -F && \\builtin printf '\\0'"
    " && \\builtin declare -p && \\builtin printf '\\0'"
    " && { \\builtin alias -p; \\builtin printf '\\0'; }"
    " && \\builtin set +o && \\builtin printf '\\0end\\0'; }";

struct text {
  char *bytes;
  size_t count;
};

/* The last complete snapshot, and the one that is coming. */
static struct text saved[SECTIONS], coming[SECTIONS];
/* The mark or section that bytes now belong to: -1 the first mark, SECTIONS the last. */
static int position = -1;
static size_t total;
static bool cut;
static char mark[8];
static size_t mark_count;

static void free_all(struct text *texts) {
  for (int i = 0; i < SECTIONS; i++) {
    free(texts[i].bytes);
    texts[i] = (struct text){0};
  }
}

void snapshot_restart(void) {
  free_all(coming);
  position = -1;
  total = mark_count = 0;
  cut = false;
}

void snapshot_clear(void) {
  snapshot_restart();
  free_all(saved);
}

static void keep(void) {
  free_all(saved);
  memcpy(saved, coming, sizeof saved);
  memset(coming, 0, sizeof coming);
}

static void add_to_mark(const char *bytes, size_t count) {
  if (count > sizeof mark - mark_count) count = sizeof mark - mark_count;
  memcpy(mark + mark_count, bytes, count);
  mark_count += count;
}

static bool mark_is(const char *word) { return mark_count == strlen(word) && memcmp(mark, word, mark_count) == 0; }

static void drop_section(struct text *text) {
  total -= text->count;
  free(text->bytes);
  *text = (struct text){0};
  cut = true;
}

static void add_to_section(struct text *text, const char *bytes, size_t count) {
  if (cut || !count) return;
  char *larger = total + count <= SNAPSHOT_MAX ? realloc(text->bytes, text->count + count) : NULL;
  if (!larger) return drop_section(text);
  text->bytes = larger;
  memcpy(text->bytes + text->count, bytes, count);
  text->count += count;
  total += count;
}

static void add(const char *bytes, size_t count) {
  if (position < 0 || position == SECTIONS) add_to_mark(bytes, count);
  else add_to_section(&coming[position], bytes, count);
}

/* A NUL came. Out of step, everything up to the next beginning is void. */
static void next_position(void) {
  cut = false;
  if (position >= 0 && position < SECTIONS) position++;
  else if (position < 0 && mark_is("begin")) position = 0;
  else {
    if (mark_is("end")) keep();
    snapshot_restart();
  }
  mark_count = 0;
}

void snapshot_take(const char *bytes, size_t count) {
  while (count) {
    const char *end = memchr(bytes, 0, count);
    size_t part = end ? (size_t)(end - bytes) : count;
    add(bytes, part);
    if (end) next_position(), part++;
    bytes += part;
    count -= part;
  }
}

static bool begins(const char *line, size_t length, const char *word) {
  return length >= strlen(word) && memcmp(line, word, strlen(word)) == 0;
}

static bool is_one_of(const char *word, size_t length, const char *const *list) {
  for (; *list; list++)
    if (length == strlen(*list) && memcmp(word, *list, length) == 0) return true;
  return false;
}

/* A shell with one of these would not run commands, or not like the others. */
static bool is_unwanted_option(const char *line, size_t length) {
  static const char set[] = "set -o ";
  static const char *const options[] = {"onecmd", "noexec", "errexit", "nounset", "monitor", NULL};
  return begins(line, length, set) && is_one_of(line + sizeof set - 1, length - (sizeof set - 1), options);
}

/* The directory may be another; TMOUT ends an idle shell; POSIXLY_CORRECT would change how the lines behind it are read. */
static bool is_unwanted_variable(const char *line, size_t length) {
  static const char *const names[] = {"PWD", "TMOUT", "POSIXLY_CORRECT", NULL};
  const char *equals = memchr(line, '=', length), *name = equals;
  if (!begins(line, length, "declare -") || !equals) return false;
  while (name > line && name[-1] != ' ') name--;
  return is_one_of(name, (size_t)(equals - name), names);
}

static size_t filter(char *text, size_t count, bool (*unwanted)(const char *, size_t)) {
  size_t kept = 0;
  for (size_t at = 0; at < count;) {
    const char *end = memchr(text + at, '\n', count - at);
    size_t whole = end ? (size_t)(end - (text + at)) + 1 : count - at, length = whole - (end != NULL);
    if (!unwanted(text + at, length)) {
      memmove(text + kept, text + at, whole);
      kept += whole;
    }
    at += whole;
  }
  return kept;
}

char *snapshot_section(enum section section, size_t *count) {
  const struct text *text = &saved[section];
  char *copy = text->count ? malloc(text->count) : NULL;
  if (!copy) return NULL;
  memcpy(copy, text->bytes, text->count);
  *count = text->count;
  if (section == SECTION_OPTIONS) *count = filter(copy, *count, is_unwanted_option);
  if (section == SECTION_VARIABLES) *count = filter(copy, *count, is_unwanted_variable);
  return copy;
}
