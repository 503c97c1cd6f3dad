#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_MAX = 128 << 10, READS_AT_ONCE = 8 };

static uint8_t scratch[READ_MAX + SCRUB_MAX];

static size_t pending(const struct stream *stream) {
  int count = 0;
  return ioctl(stream->watch.fd, FIONREAD, &count) == 0 && count > 0 ? (size_t)count : 0;
}

static void on_ready(struct watch *watch, uint32_t events) {
  (void)events;
  stream_read(CONTAINER(watch, struct stream, watch));
}

void stream_open(struct stream *stream, int fd, size_t limit) {
  struct stat status = {0};
  fstat(fd, &status);
  *stream = (struct stream){.watch = {.fd = fd, .ready = on_ready}, .inode = status.st_ino};
  stream->ring.limit = RING_SMALLEST;
  if (limit == 0) limit = RING_DEFAULT;
  if (limit > RING_LARGEST) limit = RING_LARGEST;
  while (stream->ring.limit < limit) stream->ring.limit *= 2;
  stream_adjust(stream);
}

void stream_scrub(struct stream *stream, const char *path) {
  static const char name[] = "bash: ";
  snprintf(stream->scrub, sizeof stream->scrub, "%s%s: line ", name, path);
  stream->scrub_keep = sizeof name - 1;
}

/* The first offset that may not be written over. */
static uint64_t floor_of(const struct stream *stream) {
  return stream->followed ? stream->sent : stream->ring.end;
}

static size_t room(const struct stream *stream) {
  size_t count = ring_room(&stream->ring, floor_of(stream));
  return count > SCRUB_MAX ? count - SCRUB_MAX : 0;
}

void stream_adjust(struct stream *stream) {
  watch_set(&stream->watch, stream->discarded || room(stream) ? EPOLLIN : 0);
}

static void append(struct stream *stream, const uint8_t *bytes, size_t count) {
  while (count) {
    size_t part;
    uint8_t *place = ring_reserve(&stream->ring, floor_of(stream), count, &part);
    if (!part) return;
    memcpy(place, bytes, part);
    ring_commit(&stream->ring, part);
    bytes += part;
    count -= part;
  }
}

/* Length of the longest end of `text` that is a beginning of `word`, the whole word excepted. */
static size_t overlap(const uint8_t *text, size_t count, const char *word) {
  size_t length = strlen(word) - 1;
  if (length > count) length = count;
  while (length && memcmp(text + count - length, word, length)) length--;
  return length;
}

/* Takes the file's name out of the scratch; the count of bytes that stay. */
static size_t scrub(const struct stream *stream, size_t count) {
  static const char line[] = "line ";
  size_t length = strlen(stream->scrub), keep = stream->scrub_keep, tail = sizeof line - 1;
  uint8_t *at = scratch, *found;
  while ((found = memmem(at, count - (size_t)(at - scratch), stream->scrub, length))) {
    uint8_t *rest = found + length - tail, *place = found + keep;
    memmove(place, rest, count - (size_t)(rest - scratch));
    count -= length - tail - keep;
    at = place;
  }
  return count;
}

static void take_scrubbed(struct stream *stream, size_t count, bool cut) {
  count = scrub(stream, count);
  stream->held_count = cut ? overlap(scratch, count, stream->scrub) : 0;
  append(stream, scratch, count - stream->held_count);
  memcpy(stream->held, scratch + count - stream->held_count, stream->held_count);
}

/* Up to `wanted` bytes through the scratch. bash writes the whole beginning of a message at once: only a full read can cut it. */
static ssize_t read_scrubbed(struct stream *stream, size_t wanted) {
  if (stream->mark > stream->raw && wanted > stream->mark - stream->raw) wanted = stream->mark - stream->raw;
  memcpy(scratch, stream->held, stream->held_count);
  ssize_t count = read(stream->watch.fd, scratch + stream->held_count, wanted);
  if (count <= 0) return count;
  stream->raw += (uint64_t)count;
  bool at_mark = stream->raw == stream->mark;
  take_scrubbed(stream, stream->held_count + (size_t)count, (size_t)count == wanted && !at_mark);
  if (at_mark && !stream->end_known) {
    stream->end = stream->ring.end;
    stream->end_known = true;
  }
  return count;
}

static ssize_t read_straight(struct stream *stream, size_t wanted) {
  size_t part;
  uint8_t *place = ring_reserve(&stream->ring, floor_of(stream), wanted, &part);
  if (!part) return errno = EAGAIN, -1;
  ssize_t count = read(stream->watch.fd, place, part);
  if (count > 0) ring_commit(&stream->ring, (size_t)count);
  return count;
}

static ssize_t read_single(struct stream *stream) {
  ssize_t count = read(stream->watch.fd, scratch, 1);
  if (count > 0) append(stream, scratch, 1);
  return count;
}

static ssize_t read_part(struct stream *stream) {
  if (stream->discarded) return read(stream->watch.fd, scratch, READ_MAX);
  size_t wanted = room(stream), there = pending(stream);
  if (!wanted) return errno = EAGAIN, -1;
  if (wanted > READ_MAX) wanted = READ_MAX;
  if (stream->scrub_keep) return read_scrubbed(stream, wanted);
  if (!there) return read_single(stream);
  return read_straight(stream, wanted < there ? wanted : there);
}

static void reach_eof(struct stream *stream) {
  append(stream, stream->held, stream->held_count);
  stream->held_count = 0;
  watch_close(&stream->watch);
}

void stream_read(struct stream *stream) {
  for (int i = 0; i < READS_AT_ONCE && stream->watch.fd >= 0; i++) {
    ssize_t count = read_part(stream);
    if (count > 0) continue;
    if (count == 0 || (errno != EAGAIN && errno != EINTR)) reach_eof(stream);
    break;
  }
  stream_adjust(stream);
}

void stream_mark(struct stream *stream) {
  size_t there = stream->watch.fd >= 0 ? pending(stream) : 0;
  stream->mark = stream->raw + there;
  stream->end = stream->ring.end + stream->held_count + there;
  stream->end_known = !stream->scrub_keep || !there;
}

void stream_follow(struct stream *stream, uint64_t from, uint64_t credit) {
  const struct ring *ring = &stream->ring;
  stream->sent = from < ring->start ? ring->start : from < ring->end ? from : ring->end;
  /* What the ring has dropped costs no credit: a flood could otherwise end beyond it for ever. */
  stream->credit = credit + (from < ring->start ? ring->start - from : 0);
  stream->followed = true;
  stream->eof_sent = false;
  stream_adjust(stream);
}

void stream_unfollow(struct stream *stream) {
  stream->followed = false;
  stream_adjust(stream);
}

void stream_discard(struct stream *stream) {
  stream->discarded = true;
  stream->followed = false;
  ring_drop(&stream->ring);
  stream_adjust(stream);
}

bool stream_at_eof(const struct stream *stream) { return stream->watch.fd < 0; }

uint64_t stream_ready(const struct stream *stream) {
  if (!stream->followed) return 0;
  uint64_t to = stream->ring.end < stream->credit ? stream->ring.end : stream->credit;
  return to > stream->sent ? to - stream->sent : 0;
}
