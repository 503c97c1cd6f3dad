#include "carry.h"

#include <stdlib.h>
#include <string.h>

#include "loop.h"
#include "outbox.h"
#include "shell.h"
#include "snapshot.h"
#include "speech.h"

enum { PART_MAX = 8000, PATIENCE_MS = 1000 };

/* What the client asked for. */
static struct {
  bool wanted, found; /* not answered in full; `bytes` were looked for */
  uint64_t cookie;
  char *bytes;        /* NULL: there is none */
  size_t count, said;
} answer;
static struct timer patience; /* with a shell that does not come to write the snapshot of its last command */

/* What the client gives. */
static struct {
  uint32_t total, left;
  char *bytes; /* NULL: it was refused, its parts are skipped */
} gift;

static void drop_answer(void) {
  free(answer.bytes);
  memset(&answer, 0, sizeof answer);
  timer_stop(&patience);
}

static void drop_gift(void) {
  free(gift.bytes);
  memset(&gift, 0, sizeof gift);
}

void carry_abandon(void) {
  drop_answer();
  drop_gift();
}

/* ---- CARRY ---- */

static void on_patience(struct timer *timer) { (void)timer; }

void carry_ask(uint64_t cookie) {
  drop_answer();
  answer.wanted = true;
  answer.cookie = cookie;
  patience.fire = on_patience;
  timer_set(&patience, PATIENCE_MS);
}

static bool find(void) {
  if (shell_is_free() && shell_is_writing() && patience.armed) return false;
  timer_stop(&patience);
  if (shell_is_free()) answer.bytes = snapshot_pack(shell_directory(), &answer.count);
  return answer.found = true;
}

static void say_part(void) {
  size_t left = answer.count - answer.said, part = left < PART_MAX ? left : PART_MAX;
  say_begin(SNAPSHOT);
  say64(answer.cookie);
  say32((uint32_t)answer.count);
  if (part) say_bytes(answer.bytes + answer.said, part);
  say_end();
  answer.said += part;
  if (answer.said == answer.count) drop_answer();
}

static bool has_room(void) { return outbox_has_room() || (outbox_flush() && outbox_has_room()); }

void carry_go_on(void) {
  if (!answer.wanted || (!answer.found && !find())) return;
  while (answer.wanted && !outbox_is_blocked() && has_room()) say_part();
}

/* ---- GIVE ---- */

static void refuse(enum error_code code, const char *text) { say_error(0, code, text); }
static void refuse_late(void) { refuse(BUSY, "the shell has run a command"); }

static void begin_gift(uint32_t total) {
  gift.total = gift.left = total;
  if (!shell_is_unused()) return refuse_late();
  if (total > PACK_MAX) return refuse(TOO_LARGE, "the snapshot is too large");
  gift.bytes = malloc(total);
  if (!gift.bytes) refuse(NO_RESOURCES, "no room for the snapshot");
}

static void take_gift(void) {
  if (!shell_is_unused()) return refuse_late();
  const char *directory = snapshot_unpack(gift.bytes, gift.total);
  if (directory) shell_resume(directory);
  else refuse(MALFORMED, "that is no snapshot");
}

bool carry_give(const struct request *request) {
  if (!gift.left) begin_gift(request->total);
  if (request->total != gift.total || request->count > gift.left) return false;
  if (gift.bytes) memcpy(gift.bytes + gift.total - gift.left, request->bytes, request->count);
  gift.left -= (uint32_t)request->count;
  if (gift.left == 0 && gift.bytes) take_gift();
  if (gift.left == 0) drop_gift();
  return true;
}
