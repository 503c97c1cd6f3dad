/*
 * The host is not dumpable: no process of its own user can look at its memory or open its descriptors. bash has to open
 * the pipes of each command by a path, so a small child process, the door, holds them: bash opens /proc/DOOR/fd/SLOT.
 */
#ifndef DOOR_H
#define DOOR_H
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The door's descriptors. */
enum slot { SLOT_REPORT = 10, SLOT_SNAPSHOT, SLOT_TEXT, SLOT_OUT, SLOT_ERR, SLOT_RESTORE, SLOT_LAST = SLOT_RESTORE + 8 };

struct lay {
  enum slot slot;
  int fd;
};

/* The door process: takes descriptors from the socket on fd 0 until that ends. */
int door_main(void);

/* Starts it; `laid` is called when the door holds what `door_lay` gave, `lost` when it died and was started anew, empty. */
void door_open(void (*laid)(void), void (*lost)(void));
/* Puts descriptors into slots, closing what was in them. The caller keeps its own. One call at a time. */
void door_lay(const struct lay *list, size_t count);
pid_t door_pid(void);
/* A child was reaped; true when it was the door. */
bool door_reaped(pid_t process);

#endif
