/*
 * Everything in the host that reads what others wrote: frames, reports, snapshots and scrubbed output. With libFuzzer this is
 * the target; without it (FUZZ_MAIN) a driver of its own makes inputs for FUZZ_SECONDS from FUZZ_SEED.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../src/bytes.h"
#include "../src/frame.h"
#include "../src/report.h"
#include "../src/ring.h"
#include "../src/snapshot.h"
#include "../src/stream.h"

enum { INPUT_SIZE = 4096 };

static size_t touch_strings(const char *strings, size_t count) {
  size_t total = 0;
  while (count--) {
    size_t length = strlen(strings);
    total += length;
    strings += length + 1;
  }
  return total;
}

static void use_request(const struct request *request, const uint8_t *frame, size_t count) {
  assert(request->type >= HELLO && request->type <= PORTS);
  if (request->bytes) assert(request->bytes >= frame && request->bytes + request->count <= frame + count);
  if (request->directory) touch_strings(request->directory, 1);
  if (request->arguments) assert(touch_strings(request->arguments, request->argument_count) <= count);
  if (request->variables) assert(touch_strings(request->variables, request->variable_count) <= count);
}

/* A stream of frames; each is copied to storage of exactly its size. */
static void fuzz_frames(const uint8_t *data, size_t size) {
  for (size_t at = 0; at < size;) {
    long length = frame_length(data + at, size - at);
    if (length <= 0) return;
    assert((size_t)length <= size - at && length > FRAME_HEAD);
    size_t count = (size_t)length - FRAME_HEAD;
    uint8_t *frame = malloc(count);
    memcpy(frame, data + at + FRAME_HEAD, count);
    struct request request;
    if (request_decode(frame, count, &request)) use_request(&request, frame, count);
    free(frame);
    at += (size_t)length;
  }
}

/* Any bytes as one frame. */
static void fuzz_frame(const uint8_t *data, size_t size) {
  struct request request;
  if (size && request_decode(data, size, &request)) use_request(&request, data, size);
}

static void fuzz_report(const uint8_t *data, size_t size) {
  static struct report_reader reader;
  static struct report report;
  reader.count = 0;
  for (size_t at = 0; at < size;) {
    size_t room, part = 1 + data[at] % 64;
    char *place = report_place(&reader, &room);
    assert(room > 0);
    if (part > size - at) part = size - at;
    if (part > room) part = room;
    memcpy(place, data + at, part);
    if (report_take(&reader, part, 1, &report)) {
      assert(report.status >= -1 && report.status <= 999);
      assert(strlen(report.directory) < DIRECTORY_MAX);
    }
    at += part;
  }
}

/* What is packed can be unpacked, and no more is in it then. */
static void fuzz_pack(void) {
  size_t count, again;
  char *packed = snapshot_pack("/a", &count);
  if (!packed) return;
  assert(count <= PACK_MAX && snapshot_unpack(packed, count) == packed && snapshot_number() == 0);
  char *same = snapshot_pack("/a", &again);
  assert(!same || again <= count);
  free(packed);
  free(same);
}

static void fuzz_snapshot(const uint8_t *data, size_t size) {
  size_t half = size / 2;
  snapshot_take((const char *)data, half);
  snapshot_take((const char *)data + half, size - half);
  for (int section = 0; section < SECTIONS; section++) {
    size_t count = 0;
    char *text = snapshot_section(section, &count);
    assert(!text || count <= SNAPSHOT_MAX);
    free(text);
  }
  fuzz_pack();
  if (size && data[0] & 1) snapshot_clear();
}

/* A directory and sections as they may come, with as many ends as make it plausible. */
static void fuzz_unpack(const uint8_t *data, size_t size) {
  uint64_t number = snapshot_number();
  const char *directory = snapshot_unpack((const char *)data, size);
  if (!directory) return assert(snapshot_number() == number);
  assert(directory == (const char *)data && *directory == '/');
  fuzz_pack();
}

static size_t plain_scrub(uint8_t *bytes, size_t count) {
  static const char whole[] = "bash: F: line ", kept[] = "bash: line ";
  size_t to = 0;
  for (size_t from = 0; from < count;) {
    bool found = count - from >= sizeof whole - 1 && memcmp(bytes + from, whole, sizeof whole - 1) == 0;
    if (found) memcpy(bytes + to, kept, sizeof kept - 1);
    else bytes[to] = bytes[from];
    to += found ? sizeof kept - 1 : 1;
    from += found ? sizeof whole - 1 : 1;
  }
  return to;
}

/* Takes what came, so that there is room for more. */
static size_t take(struct stream *stream, uint8_t *bytes) {
  size_t count = 0;
  while (stream->sent < stream->ring.end) {
    size_t run;
    const uint8_t *at = ring_at(&stream->ring, stream->sent, &run);
    memcpy(bytes + count, at, run);
    count += run;
    stream->sent += run;
  }
  return count;
}

/* The same output as from an edit of the whole, wherever reads cut it. */
static void fuzz_scrub(const uint8_t *data, size_t size) {
  enum { COPIES = 4 };
  static uint8_t expected[COPIES * INPUT_SIZE], got[COPIES * INPUT_SIZE];
  if (size > INPUT_SIZE) size = INPUT_SIZE;
  int ends[2];
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) abort();
  struct stream stream;
  stream_open(&stream, ends[0], RING_SMALLEST);
  stream_scrub(&stream, "F");
  stream_follow(&stream, 0, 0);
  for (int i = 0; i < COPIES; i++) memcpy(expected + (size_t)i * size, data, size);
  if (size && write(ends[1], expected, COPIES * size) != (ssize_t)(COPIES * size)) abort();
  stream_mark(&stream);
  size_t count = 0, wanted = plain_scrub(expected, COPIES * size);
  for (int i = 0; i < 2 * COPIES; i++) {
    stream_read(&stream);
    count += take(&stream, got + count);
  }
  assert(stream.end_known && stream.end == stream.ring.end);
  close(ends[1]);
  stream_read(&stream);
  assert(stream_at_eof(&stream));
  assert(count == wanted && memcmp(expected, got, count) == 0);
  ring_drop(&stream.ring);
}

static void check_ring(const struct ring *ring) {
  assert(ring->start <= ring->end && ring->end - ring->start <= ring->size && ring->size <= ring->limit);
  for (uint64_t at = ring->start; at < ring->end;) {
    size_t run;
    const uint8_t *bytes = ring_at(ring, at, &run);
    for (size_t i = 0; i < run; i++) assert(bytes[i] == (uint8_t)((at + i) * 7));
    at += run;
  }
}

/* Every byte is found where it was put, and none from the floor on is lost. */
static void fuzz_ring(const uint8_t *data, size_t size) {
  struct ring ring = {.limit = 16384};
  uint64_t floor = 0;
  for (size_t i = 0; i + 2 < size && i < 90; i += 3) {
    size_t room, wanted = 1 + get16(data + i) % 9000, possible = ring_room(&ring, floor);
    if (!possible) floor += (ring.end - floor) * data[i + 2] / 255;
    if (floor < ring.end && data[i + 2] % 3 == 0) floor += (ring.end - floor) / 2;
    possible = ring_room(&ring, floor);
    uint8_t *place = ring_reserve(&ring, floor, wanted < possible ? wanted : possible, &room);
    assert(room <= wanted && (room || !possible));
    for (size_t n = 0; n < room; n++) place[n] = (uint8_t)((ring.end + n) * 7);
    ring_commit(&ring, room);
    assert(ring.start <= floor || floor == ring.end);
    check_ring(&ring);
  }
  ring_drop(&ring);
  assert(ring_total == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const targets[])(const uint8_t *, size_t) = {fuzz_frames, fuzz_frame, fuzz_report, fuzz_snapshot,
                                                             fuzz_scrub,  fuzz_ring,  fuzz_unpack};
  static bool ready;
  if (!ready) loop_open();
  ready = true;
  if (size) targets[data[0] % (sizeof targets / sizeof *targets)](data + 1, size - 1);
  return 0;
}

#ifdef FUZZ_MAIN
static const char *const words[] = {
    "((: 1 + ", "((: 2 + ", "0", "127", " / 0 , ", "1 himB /tmp 1 ", " 1 ", " 2 ", "begin", "end 1", "end ", "set -o errexit\n", "declare -x PWD=\"/\"\n",
    "declare -x A=\"", "declare -x B=$'", "declare -x B=", "\\", "\\12", "\\n", "\"\n", "'\n", "q\\\"\\$", "/",
    "bash: F: line ", "bash: F: li", "bash: ", "/bin/sh", "A=1", "=", "\n",
};

static uint64_t state;

static uint32_t random_below(uint32_t limit) {
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return (uint32_t)(state >> 33) % limit;
}

static size_t add_piece(uint8_t *at) {
  switch (random_below(6)) {
    case 0: return *at = (uint8_t)random_below(256), 1;
    case 1: return *at = 0, 1;
    case 2: return *at = (uint8_t)random_below(16), 1;
    case 3: return put32(at, random_below(3) ? random_below(64) : random_below(1U << 31) * 2), 4;
    case 4: return memset(at, (int)random_below(256), 200), random_below(200);
    default: break;
  }
  const char *word = words[random_below(sizeof words / sizeof *words)];
  memcpy(at, word, strlen(word) + 1);
  return strlen(word) + random_below(2);
}

/* A directory and sections. */
static size_t add_packed(uint8_t *at) {
  size_t size = 0;
  for (int i = 0; i <= SECTIONS; i++) {
    size_t begin = size;
    if (i == 0) at[size++] = '/';
    for (uint32_t pieces = random_below(4); pieces; pieces--) size += add_piece(at + size);
    for (size_t n = begin; n < size; n++) at[n] = at[n] ? at[n] : 'x';
    at[size++] = 0;
  }
  return size;
}

/* Frames get a plausible head, most of what is to be unpacked the ends that it needs. */
static size_t make_input(uint8_t *input) {
  size_t size = 1, target = random_below(7), begin;
  input[0] = (uint8_t)target;
  if (target == 6 && random_below(8)) return 1 + add_packed(input + 1);
  do {
    begin = size;
    if (target == 0) size += 5, input[begin + 4] = (uint8_t)random_below(16);
    for (uint32_t pieces = random_below(24); pieces && size < INPUT_SIZE; pieces--) size += add_piece(input + size);
    if (target == 0) put32(input + begin, (uint32_t)(size - begin - 4) + (random_below(8) == 0));
  } while (size < INPUT_SIZE && random_below(4));
  return size;
}

int main(void) {
  const char *seconds = getenv("FUZZ_SECONDS"), *seed = getenv("FUZZ_SEED");
  setenv("A", "q\"$", 1);
  setenv("B", "\n", 1);
  time_t end = time(NULL) + (seconds ? atoi(seconds) : 10);
  state = seed ? strtoull(seed, NULL, 10) : 1;
  unsigned long long runs = 0;
  for (; runs % 256 || time(NULL) < end; runs++) {
    static uint8_t made[INPUT_SIZE + 1024];
    size_t size = make_input(made);
    uint8_t *input = malloc(size); /* so that reading beyond it is noticed */
    memcpy(input, made, size);
    LLVMFuzzerTestOneInput(input, size);
    free(input);
  }
  printf("%llu inputs, no finding\n", runs);
}
#endif
