#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct text {
  char *bytes;
  size_t count;
};

/* The last complete snapshot, and the one that is coming. */
static struct text saved[SECTIONS], coming[SECTIONS];
static uint64_t saved_number;
/* The mark or section that bytes now belong to: -1 the first mark, SECTIONS the last. */
static int position = -1;
static size_t total;
/* Where the part of a section begins that is kept or left out as a whole, and whether it is left out. */
static size_t part_begin;
static bool cut;
/* What the text of the variables is in: a kind of quotes, and there or outside behind a backslash. */
static enum { PLAIN, DOUBLE_QUOTES, SINGLE_QUOTES, ANSI_QUOTES } quotes;
static bool escaped;
static char before;
static char mark[32];
static size_t mark_count;

static void free_all(struct text *texts) {
  for (int i = 0; i < SECTIONS; i++) {
    free(texts[i].bytes);
    texts[i] = (struct text){0};
  }
}

static void new_section(void) {
  part_begin = 0;
  cut = escaped = false;
  quotes = PLAIN;
  before = 0;
}

void snapshot_restart(void) {
  free_all(coming);
  position = -1;
  total = mark_count = 0;
  new_section();
}

void snapshot_clear(void) {
  snapshot_restart();
  free_all(saved);
  saved_number = 0;
}

uint64_t snapshot_number(void) { return saved_number; }

static void keep(uint64_t number) {
  free_all(saved);
  saved_number = number;
  memcpy(saved, coming, sizeof saved);
  memset(coming, 0, sizeof coming);
}

static void add_to_mark(const char *bytes, size_t count) {
  size_t room = sizeof mark - 1 - mark_count;
  if (count > room) count = room;
  memcpy(mark + mark_count, bytes, count);
  mark_count += count;
}

/* The mark as a string. */
static const char *whole_mark(void) {
  mark[mark_count] = '\0';
  return mark;
}

static void drop_part(struct text *text) {
  total -= text->count - part_begin;
  text->count = part_begin;
  cut = true;
}

/* Variables leave room for the sections behind them. */
static size_t limit(void) { return position > SECTION_VARIABLES ? SNAPSHOT_MAX : SNAPSHOT_MAX - BEHIND_VARIABLES; }

/* What a text of that size takes. Variables come in many small parts. */
static size_t room_for(size_t count) { return position == SECTION_VARIABLES ? (count + 4095) / 4096 * 4096 : count; }

static bool make_room(struct text *text, size_t count) {
  if (total + count > limit()) return false;
  size_t room = room_for(text->count + count);
  if (room == room_for(text->count)) return true;
  char *larger = realloc(text->bytes, room);
  if (larger) text->bytes = larger;
  return larger;
}

static void add_to_section(struct text *text, const char *bytes, size_t count) {
  if (cut || !count) return;
  if (!make_room(text, count)) return drop_part(text);
  memcpy(text->bytes + text->count, bytes, count);
  text->count += count;
  total += count;
}

/* True at a newline that ends a declaration: one in quotes, as bash before 5 writes it, does not. */
static bool ends_declaration(char c) {
  char last = before;
  before = c;
  if (escaped) escaped = false;
  else if (c == '\\' && quotes != SINGLE_QUOTES) escaped = true;
  else if (quotes == PLAIN && c == '"') quotes = DOUBLE_QUOTES;
  else if (quotes == PLAIN && c == '\'') quotes = last == '$' ? ANSI_QUOTES : SINGLE_QUOTES;
  else if (c == (quotes == DOUBLE_QUOTES ? '"' : '\'')) quotes = PLAIN;
  else return quotes == PLAIN && c == '\n';
  return false;
}

/* Each declaration is a part. */
static void add_to_variables(struct text *text, const char *bytes, size_t count) {
  for (size_t from = 0, at = 0; at < count; at++) {
    bool ends = ends_declaration(bytes[at]);
    if (!ends && at + 1 < count) continue;
    add_to_section(text, bytes + from, at + 1 - from);
    from = at + 1;
    if (!ends) break;
    part_begin = text->count;
    cut = false;
  }
}

static void add(const char *bytes, size_t count) {
  if (position < 0 || position == SECTIONS) add_to_mark(bytes, count);
  else if (position == SECTION_VARIABLES) add_to_variables(&coming[position], bytes, count);
  else add_to_section(&coming[position], bytes, count);
}

/* A NUL came. Out of step, everything up to the next beginning is void. */
static void next_position(void) {
  unsigned long long number;
  new_section();
  if (position >= 0 && position < SECTIONS) position++;
  else if (position < 0 && strcmp(whole_mark(), "begin") == 0) position = 0;
  else {
    if (position == SECTIONS && sscanf(whole_mark(), "end %20llu", &number) == 1) keep(number);
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

/* ---- what is left out ---- */

static bool begins(const char *text, size_t length, const char *word) {
  return length >= strlen(word) && memcmp(text, word, strlen(word)) == 0;
}

static bool is_one_of(const char *word, size_t length, const char *const *list) {
  for (; *list; list++)
    if (length == strlen(*list) && memcmp(word, *list, length) == 0) return true;
  return false;
}

/* With its newline, if it has one. */
static size_t line_length(const char *text, size_t left) {
  const char *end = memchr(text, '\n', left);
  return end ? (size_t)(end - text) + 1 : left;
}

static bool declares_one_of(const char *line, size_t length, const char *const *names) {
  const char *equals = memchr(line, '=', length), *name = equals;
  if (!begins(line, length, "declare -") || !equals) return false;
  while (name > line && name[-1] != ' ') name--;
  return is_one_of(name, (size_t)(equals - name), names);
}

/* A shell with one of these would not run commands, or not like the others. */
static size_t unwanted_option(const char *text, size_t left) {
  static const char set[] = "set -o ";
  static const char *const options[] = {"onecmd", "noexec", "errexit", "nounset", "monitor", NULL};
  size_t whole = line_length(text, left), length = whole - (text[whole - 1] == '\n');
  bool unwanted = begins(text, length, set) && is_one_of(text + sizeof set - 1, length - (sizeof set - 1), options);
  return unwanted ? whole : 0;
}

/* The directory may be another; TMOUT ends an idle shell; POSIXLY_CORRECT would change how the lines behind it are read. */
static size_t unwanted_variable(const char *text, size_t left) {
  static const char *const names[] = {"PWD", "TMOUT", "POSIXLY_CORRECT", NULL};
  size_t whole = line_length(text, left);
  return declares_one_of(text, whole, names) ? whole : 0;
}

static const char *environment_value(const char *name, size_t length) {
  for (char **entry = environ; *entry; entry++)
    if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
  return NULL;
}

static char octal(const char **at, const char *end) {
  unsigned value = 0;
  for (int i = 0; i < 3 && *at < end && **at >= '0' && **at <= '7'; i++) value = value * 8 + (unsigned)(*(*at)++ - '0');
  return (char)value;
}

/* The next byte of what bash has quoted, by "…" or, `ansi`, by $'…'. */
static char unquote(const char **at, const char *end, bool ansi) {
  static const char letters[] = "abtnvfrE", meant[] = "\a\b\t\n\v\f\r\033";
  char c = *(*at)++;
  if (c != '\\' || *at == end) return c;
  if (ansi && **at >= '0' && **at <= '7') return octal(at, end);
  c = *(*at)++;
  const char *letter = ansi && c ? strchr(letters, c) : NULL;
  return letter ? meant[letter - letters] : c;
}

/* Where quoted text ends that means `value`; NULL when it means something else. */
static const char *end_of_value(const char *at, const char *end, const char *value) {
  bool ansi = at < end && *at == '$';
  at += ansi;
  if (at == end || *at++ != (ansi ? '\'' : '"')) return NULL;
  while (at < end && *at != (ansi ? '\'' : '"'))
    if (!*value || unquote(&at, end, ansi) != *value++) return NULL;
  return at < end && !*value ? at + 1 : NULL;
}

/* Unlike the others this sees a value of several lines as bash before 5 writes it. */
static size_t from_environment(const char *text, size_t left) {
  static const char exported[] = "declare -x ";
  const char *end = text + left, *name = text + sizeof exported - 1;
  const char *equals = begins(text, left, exported) ? memchr(name, '=', (size_t)(end - name)) : NULL;
  const char *value = equals ? environment_value(name, (size_t)(equals - name)) : NULL;
  const char *after = value ? end_of_value(equals + 1, end, value) : NULL;
  if (!after || (after < end && *after != '\n')) return 0;
  return (size_t)(after - text) + (after < end);
}

/* What the new container or its bash may have otherwise. */
static size_t unwanted_elsewhere(const char *text, size_t left) {
  static const char *const names[] = {"BASH", "BASH_VERSION", "HOSTTYPE", "MACHTYPE", "OSTYPE", NULL};
  size_t whole = line_length(text, left);
  return declares_one_of(text, whole, names) ? whole : from_environment(text, left);
}

/* `unwanted` is asked at the beginning of each line how many bytes to leave out. */
static size_t filter(char *text, size_t count, size_t (*unwanted)(const char *text, size_t left)) {
  size_t kept = 0;
  for (size_t at = 0; at < count;) {
    size_t skipped = unwanted(text + at, count - at), whole = skipped ? 0 : line_length(text + at, count - at);
    memmove(text + kept, text + at, whole);
    kept += whole;
    at += skipped + whole;
  }
  return kept;
}

char *snapshot_section(enum section section, size_t *count) {
  const struct text *text = &saved[section];
  char *copy = text->count ? malloc(text->count) : NULL;
  if (!copy) return NULL;
  memcpy(copy, text->bytes, text->count);
  *count = text->count;
  if (section == SECTION_OPTIONS) *count = filter(copy, *count, unwanted_option);
  if (section == SECTION_VARIABLES) *count = filter(copy, *count, unwanted_variable);
  return copy;
}

/* ---- on its way between containers ---- */

static size_t pack_section(char *at, enum section section) {
  size_t count = 0;
  char *text = snapshot_section(section, &count);
  if (text && section == SECTION_VARIABLES) count = filter(text, count, unwanted_elsewhere);
  if (text) memcpy(at, text, count);
  at[count] = '\0';
  free(text);
  return count + 1;
}

char *snapshot_pack(const char *directory, size_t *count) {
  size_t room = strlen(directory) + 1 + SECTIONS, held = 0;
  for (int i = 0; i < SECTIONS; i++) held += saved[i].count;
  char *packed = held ? malloc(room + held) : NULL;
  if (!packed) return NULL;
  *count = strlen(directory) + 1;
  memcpy(packed, directory, *count);
  for (int i = 0; i < SECTIONS; i++) *count += pack_section(packed + *count, i);
  return packed;
}

static bool is_packed(const char *bytes, size_t count) {
  if (count == 0 || count > PACK_MAX || bytes[count - 1] || bytes[0] != '/' || strlen(bytes) >= DIRECTORY_MAX) return false;
  size_t ends = 0;
  for (const char *at = bytes; at < bytes + count; at += strlen(at) + 1) ends++;
  return ends == 1 + SECTIONS;
}

const char *snapshot_unpack(const char *bytes, size_t count) {
  static const char first[] = "begin", last[] = "end 0";
  if (!is_packed(bytes, count)) return NULL;
  size_t skipped = strlen(bytes) + 1;
  snapshot_restart();
  snapshot_take(first, sizeof first);
  snapshot_take(bytes + skipped, count - skipped);
  snapshot_take(last, sizeof last);
  return bytes;
}
