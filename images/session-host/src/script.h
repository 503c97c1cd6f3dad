/* The lines that bash is given around a command. All of them begin with a space, as what history leaves out. */
#ifndef SCRIPT_H
#define SCRIPT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"

enum { SCRIPT_MAX = 4096 };

/* What a new shell reads first; `restored` says of each section whether its text lies in the door. The length. */
size_t script_start(char *script, const bool restored[SECTIONS]);
/* Runs the text that lies in the door, reports its end as `number`, and writes a snapshot. */
size_t script_command(char *script, uint8_t status, bool errexit, uint64_t number);
/* Reports once more. */
size_t script_report(char *script, uint64_t number);
/* What goes in front of a text that begins with errexit set; empty otherwise. */
size_t script_prefix(char *script, uint8_t status, bool errexit);

#endif
