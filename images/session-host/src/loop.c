#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };

static int epoll_fd = -1;
static struct timer *timers;

uint64_t loop_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void watch_set(struct watch *watch, uint32_t events) {
  if (watch->events == events || watch->fd < 0) return;
  struct epoll_event event = {.events = events, .data.ptr = watch};
  int operation = events == 0 ? EPOLL_CTL_DEL : watch->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(epoll_fd, operation, watch->fd, &event) == 0 || events == 0) watch->events = events;
}

void watch_close(struct watch *watch) {
  if (watch->fd < 0) return;
  watch_set(watch, 0);
  close(watch->fd);
  watch->fd = -1;
}

void timer_set(struct timer *timer, unsigned milliseconds) {
  timer->due = loop_now() + milliseconds;
  if (timer->armed) return;
  timer->armed = true;
  timer->next = timers;
  timers = timer;
}

void timer_stop(struct timer *timer) {
  if (!timer->armed) return;
  struct timer **link = &timers;
  while (*link != timer) link = &(*link)->next;
  *link = timer->next;
  timer->armed = false;
}

static struct timer *earliest(void) {
  struct timer *first = timers;
  for (struct timer *timer = timers; timer; timer = timer->next)
    if (timer->due < first->due) first = timer;
  return first;
}

/* Fires what is due; the time until the next timer in milliseconds, -1 when there is none. */
static int run_timers(void) {
  for (;;) {
    struct timer *timer = earliest();
    if (!timer) return -1;
    uint64_t now = loop_now();
    if (timer->due > now) return (int)(timer->due - now);
    timer_stop(timer);
    timer->fire(timer);
  }
}

void loop_open(void) {
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) abort();
}

_Noreturn void loop_run(void (*settle)(void)) {
  struct epoll_event events[BATCH];
  for (;;) {
    int timeout = run_timers();
    settle();
    int count = epoll_wait(epoll_fd, events, BATCH, timeout);
    if (count < 0 && errno != EINTR) abort();
    for (int i = 0; i < count; i++) {
      struct watch *watch = events[i].data.ptr;
      if (watch->fd >= 0 && watch->events) watch->ready(watch, events[i].events);
    }
  }
}
