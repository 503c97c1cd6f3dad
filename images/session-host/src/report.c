#include "report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAD_MAX = 64 };

char *report_place(struct report_reader *reader, size_t *room) {
  *room = REPORT_MAX - reader->count;
  return reader->bytes + reader->count;
}

static void skip(struct report_reader *reader, size_t count) {
  reader->count -= count;
  memmove(reader->bytes, reader->bytes + count, reader->count);
}

/* Moves the report's beginning to the front; false when it has not come. */
static bool seek(struct report_reader *reader, uint64_t number) {
  char lead[LEAD_MAX];
  int length = snprintf(lead, sizeof lead, "((: %llu + ", (unsigned long long)number);
  char *found = memmem(reader->bytes, reader->count, lead, (size_t)length);
  if (!found) return false;
  skip(reader, (size_t)(found - reader->bytes));
  return true;
}

/* A status of at most three digits; -1 when there is none. */
static int digits(const char **at) {
  int value = -1;
  for (int i = 0; i < 3 && **at >= '0' && **at <= '9'; i++, (*at)++) value = (value < 0 ? 0 : value * 10) + (**at - '0');
  return value;
}

/* PIPESTATUS holds what `!` turned round. A shell without it still tells 0 from 1, but only if no line came between. */
static int status_of(int status, int inverted, bool first) {
  if (status >= 0) return status;
  return !first ? -1 : inverted > 1 ? inverted : !inverted;
}

static const char *expect(const char *at, const char *word) {
  return at && strncmp(at, word, strlen(word)) == 0 ? at + strlen(word) : NULL;
}

static bool parse(struct report_reader *reader, uint64_t number, bool first, struct report *report) {
  char tail[LEAD_MAX];
  int tail_length = snprintf(tail, sizeof tail, " %llu ", (unsigned long long)number);
  reader->bytes[reader->count] = 0;
  const char *at = strstr(reader->bytes, "+ ") + 2, *last = reader->bytes + reader->count;
  int status = digits(&at);
  at = expect(at, " / 0 , ");
  int inverted = at ? digits(&at) : -1;
  at = expect(at, " ");
  const char *options = at, *gap = at ? strchr(at, ' ') : NULL;
  at = gap ? gap + 1 : NULL;
  const char *end = at ? memmem(at - 1, (size_t)(last - at + 1), tail, (size_t)tail_length) : NULL;
  bool full = reader->count == REPORT_MAX;
  if (!end && !full) return false;
  if (!at) return skip(reader, 4), false;
  size_t length = end && end >= at ? (size_t)(end - at) : 0;
  *report = (struct report){.number = number, .status = status_of(status, inverted, first)};
  report->errexit = memchr(options, 'e', (size_t)(gap - options)) != NULL;
  if (length < DIRECTORY_MAX && *at == '/') memcpy(report->directory, at, length);
  return true;
}

bool report_take(struct report_reader *reader, size_t count, uint64_t number, struct report *report) {
  reader->count += count;
  for (int i = 0; i < 2; i++) {
    if (!seek(reader, number + i)) continue;
    if (!parse(reader, number + i, i == 0, report)) return false;
    reader->count = 0;
    return true;
  }
  if (reader->count > LEAD_MAX) skip(reader, reader->count - LEAD_MAX);
  return false;
}
