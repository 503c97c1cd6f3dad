/* One thread waits for descriptors and for time. */
#ifndef LOOP_H
#define LOOP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A descriptor whose readiness is of interest. `ready` may be called once too often and must cope with EAGAIN. */
struct watch {
  int fd;
  uint32_t events;
  void (*ready)(struct watch *watch, uint32_t events);
};

/* EPOLLIN and EPOLLOUT, or 0: then not even a hang-up is reported, so that a paused descriptor cannot spin the loop. */
void watch_set(struct watch *watch, uint32_t events);
/* Ends the watch and closes the descriptor. The memory must stay valid until `settle` runs. */
void watch_close(struct watch *watch);

struct timer {
  void (*fire)(struct timer *timer);
  uint64_t due;
  bool armed;
  struct timer *next;
};

void timer_set(struct timer *timer, unsigned milliseconds);
void timer_stop(struct timer *timer);

/* Milliseconds of a clock that never jumps. */
uint64_t loop_now(void);
void loop_open(void);
/* Runs for ever. `settle` is called after every batch of events, before waiting again. */
_Noreturn void loop_run(void (*settle)(void));

#define CONTAINER(pointer, type, member) ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

#endif
