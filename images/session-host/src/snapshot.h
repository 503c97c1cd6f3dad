/* The shell's variables, functions and options, as bash wrote them after the last command, for the shell that follows a dead one. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report.h"

enum { SNAPSHOT_MAX = 1 << 20, BEHIND_VARIABLES = 16 << 10 };
/* In the order in which they must be restored. */
enum section { SECTION_UMASK, SECTION_SHOPT, SECTION_FUNCTIONS, SECTION_VARIABLES, SECTION_ALIASES, SECTION_OPTIONS, SECTIONS };

/* A packed one at most: the directory and the sections, each with its NUL. */
enum { PACK_MAX = SNAPSHOT_MAX + DIRECTORY_MAX + SECTIONS };

/*
 * What bash runs to write all sections, each ended by a NUL, between two marks, of which the second holds a number. The
 * backslashes keep aliases away. A section that could not be written leaves the snapshot without its last mark.
 */
#define SNAPSHOT_LINE \
  "{ \\builtin printf 'begin\\0'" \
  " && \\builtin umask -p && \\builtin printf '\\0'" \
  " && { \\builtin shopt -p; \\builtin printf '\\0'; }" \
  " && \\builtin declare -f && \\builtin declare -F && \\builtin printf '\\0'" \
  " && \\builtin declare -p && \\builtin printf '\\0'" \
  " && { \\builtin alias -p; \\builtin printf '\\0'; }" \
  " && \\builtin set +o && \\builtin printf '\\0end %llu\\0'; }"

/* Bytes from bash. A complete snapshot takes the place of the last one; of what is too large that variable is left out, or else that section. */
void snapshot_take(const char *bytes, size_t count);
/* What came of an unfinished one is void. */
void snapshot_restart(void);
void snapshot_clear(void);
/* A copy of a section's text, to be freed; NULL when there is none. */
char *snapshot_section(enum section section, size_t *count);
/* The number in the last complete one; 0 when there is none or it was unpacked. */
uint64_t snapshot_number(void);

/*
 * For another container: the directory and all sections in their order, each ended by a NUL. Of the variables those are
 * left out that are as this container's environment has them, and what bash says of itself. To be freed; NULL: there is none.
 */
char *snapshot_pack(const char *directory, size_t *count);
/* Takes the place of the last one. The directory, at the front of `bytes`; NULL, and nothing changes: that is not one. */
const char *snapshot_unpack(const char *bytes, size_t count);

#endif
