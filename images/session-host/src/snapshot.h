/* The shell's variables, functions and options, as bash wrote them after the last command, for the shell that follows a dead one. */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H
#include <stdbool.h>
#include <stddef.h>

enum { SNAPSHOT_MAX = 1 << 20 };
/* In the order in which they must be restored. */
enum section { SECTION_UMASK, SECTION_SHOPT, SECTION_FUNCTIONS, SECTION_VARIABLES, SECTION_ALIASES, SECTION_OPTIONS, SECTIONS };

/* What bash runs to write all sections, each ended by a NUL, between two marks. */
extern const char snapshot_line[];

/* Bytes from bash. A complete snapshot takes the place of the last one; a section that is too large is left out. */
void snapshot_take(const char *bytes, size_t count);
/* What came of an unfinished one is void. */
void snapshot_restart(void);
void snapshot_clear(void);
/* A copy of a section's text, to be freed; NULL when there is none. */
char *snapshot_section(enum section section, size_t *count);

#endif
