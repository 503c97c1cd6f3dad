/* One stream of output: a pipe or a terminal that is read into a ring and sent from there, or thrown away. */
#ifndef STREAM_H
#define STREAM_H
#include <sys/types.h>

#include "loop.h"
#include "ring.h"

enum { SCRUB_MAX = 96, RING_DEFAULT = 1 << 20 };

struct stream {
  struct watch watch; /* its fd is -1 once the last writer is gone */
  struct ring ring;
  ino_t inode;        /* of the pipe, to find who holds it */
  uint64_t sent;      /* offset of the next byte for the client */
  uint64_t credit;    /* the client takes bytes below this offset */
  bool followed;      /* the client wants it: the writer blocks, nothing is lost */
  bool eof_sent;
  bool discarded;     /* read, so that the writer is not blocked, and thrown away */
  /* Where the command's own output ends. */
  uint64_t raw, mark; /* bytes taken from the descriptor; how many of them the command wrote */
  uint64_t end;
  bool end_known;
  /* bash names the file it reads in a syntax error: `bash: FILE: line 1:`. `scrub` is that, and its end from `scrub_keep` on goes. */
  char scrub[SCRUB_MAX];
  size_t scrub_keep;
  uint8_t held[SCRUB_MAX]; /* a beginning of `scrub` that a full read cut off */
  size_t held_count;
};

/* Begins reading a descriptor, which becomes the stream's. `limit` of the ring in bytes, 0 = the default. */
void stream_open(struct stream *stream, int fd, size_t limit);
/* Removes `path: ` from `bash: path: line ` in what is read. */
void stream_scrub(struct stream *stream, const char *path);
/* The command has ended: what the pipe holds is still its own. */
void stream_mark(struct stream *stream);
/* Reads what there is and what there is room for. */
void stream_read(struct stream *stream);
/* Reads on, or stops reading, by the room there is. */
void stream_adjust(struct stream *stream);
/* Sends from an offset on, as far as the client gives credit. */
void stream_follow(struct stream *stream, uint64_t from, uint64_t credit);
void stream_unfollow(struct stream *stream);
void stream_discard(struct stream *stream);
bool stream_at_eof(const struct stream *stream);
/* How many bytes may be sent at once. */
uint64_t stream_ready(const struct stream *stream);

#endif
