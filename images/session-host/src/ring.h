/* The last bytes of a stream, addressed by their offset from the stream's beginning. */
#ifndef RING_H
#define RING_H
#include <stddef.h>
#include <stdint.h>

struct ring {
  uint8_t *bytes;
  size_t size;  /* of the storage: 0 or a power of two */
  size_t limit; /* it never grows beyond: a power of two */
  uint64_t start, end;
};

/* Storage of all rings together. Near the budget a ring stays as large as it is, but has at least the smallest storage. */
enum { RING_SMALLEST = 4096, RING_LARGEST = 4 << 20, RING_BUDGET = 16 << 20 };
extern size_t ring_total;

/* How many bytes fit behind those from offset `floor` on, without growing beyond what the budget allows. */
size_t ring_room(const struct ring *ring, uint64_t floor);
/* A place in one piece for at most `wanted` of those bytes; `*room` is its size. */
uint8_t *ring_reserve(struct ring *ring, uint64_t floor, size_t wanted, size_t *room);
/* `count` bytes were written to the reserved place. */
void ring_commit(struct ring *ring, size_t count);
/* The longest run of bytes from an offset within start and end, in one piece. */
const uint8_t *ring_at(const struct ring *ring, uint64_t offset, size_t *run);
/* Gives up all bytes, keeping the offsets. */
void ring_drop(struct ring *ring);

#endif
