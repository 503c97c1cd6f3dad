/*
 * How bash says that a command has ended. An arithmetic error does it: no function, alias or disabled builtin can stand in
 * the way of `((`. Its message repeats the expression: `bash: ((: NUMBER + STATUS / 0 , INVERTED OPTIONS DIRECTORY NUMBER : division by 0 …`.
 */
#ifndef REPORT_H
#define REPORT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REPORT_MAX = 16384, DIRECTORY_MAX = 4096 };

struct report {
  uint64_t number;
  int status;    /* -1: lost */
  bool errexit;
  char directory[DIRECTORY_MAX]; /* as $PWD says; empty when it says nothing that could be a directory */
};

struct report_reader {
  char bytes[REPORT_MAX + 1];
  size_t count;
};

/* A line for bash, without what sends its stderr to the host. */
#define REPORT_LINE " (( %llu + ${PIPESTATUS[0]-} / 0 , $? $- ${PWD-} %llu ))"

/* Where to put the next bytes, and how many. */
char *report_place(struct report_reader *reader, size_t *room);
/* `count` bytes came. True when they complete the report of `number`, or of `number + 1`: a second line, for when the first found no door or was interrupted. */
bool report_take(struct report_reader *reader, size_t count, uint64_t number, struct report *report);

#endif
