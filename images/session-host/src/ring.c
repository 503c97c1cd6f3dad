#include "ring.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

size_t ring_total;

/* Copies the bytes that are held into larger storage. */
static bool resize(struct ring *ring, size_t size) {
  uint8_t *bytes = malloc(size);
  if (!bytes) return false;
  for (uint64_t at = ring->start; at < ring->end;) {
    size_t run;
    const uint8_t *from = ring_at(ring, at, &run);
    size_t place = at % size;
    if (run > size - place) run = size - place;
    memcpy(bytes + place, from, run);
    at += run;
  }
  free(ring->bytes);
  ring_total += size - ring->size;
  ring->bytes = bytes;
  ring->size = size;
  return true;
}

static size_t capacity(const struct ring *ring) {
  if (ring_total < RING_BUDGET - RING_LARGEST) return ring->limit;
  return ring->size ? ring->size : RING_SMALLEST;
}

static void grow(struct ring *ring, size_t wanted) {
  size_t need = (size_t)(ring->end - ring->start) + wanted, most = capacity(ring);
  size_t size = ring->size ? ring->size : RING_SMALLEST;
  while (size < need && size < most) size *= 2;
  if (size == ring->size || resize(ring, size)) return;
  if (!ring->size && !resize(ring, RING_SMALLEST)) abort();
  ring->limit = ring->size;
}

static size_t held(const struct ring *ring, uint64_t floor) {
  return (size_t)(ring->end - (floor < ring->start ? ring->start : floor));
}

size_t ring_room(const struct ring *ring, uint64_t floor) {
  size_t most = capacity(ring), used = held(ring, floor);
  return used < most ? most - used : 0;
}

uint8_t *ring_reserve(struct ring *ring, uint64_t floor, size_t wanted, size_t *room) {
  grow(ring, wanted);
  size_t place = ring->end % ring->size, contiguous = ring->size - place, space = ring->size - held(ring, floor);
  *room = contiguous < space ? contiguous : space;
  if (*room > wanted) *room = wanted;
  return ring->bytes + place;
}

void ring_commit(struct ring *ring, size_t count) {
  ring->end += count;
  if (ring->end - ring->start > ring->size) ring->start = ring->end - ring->size;
}

const uint8_t *ring_at(const struct ring *ring, uint64_t offset, size_t *run) {
  size_t place = ring->size ? offset % ring->size : 0, contiguous = ring->size - place;
  uint64_t left = ring->end - offset;
  *run = left < contiguous ? (size_t)left : contiguous;
  return ring->bytes + place;
}

void ring_drop(struct ring *ring) {
  free(ring->bytes);
  ring_total -= ring->size;
  ring->bytes = NULL;
  ring->size = 0;
  ring->start = ring->end;
}
