/* Big-endian numbers in byte strings. */
#ifndef BYTES_H
#define BYTES_H
#include <stdint.h>

static inline void put16(uint8_t *at, uint16_t n) { at[0] = n >> 8; at[1] = n; }
static inline void put32(uint8_t *at, uint32_t n) { put16(at, n >> 16); put16(at + 2, n); }
static inline void put64(uint8_t *at, uint64_t n) { put32(at, n >> 32); put32(at + 4, n); }
static inline uint16_t get16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static inline uint32_t get32(const uint8_t *at) { return (uint32_t)get16(at) << 16 | get16(at + 2); }
static inline uint64_t get64(const uint8_t *at) { return (uint64_t)get32(at) << 32 | get32(at + 4); }

#endif
