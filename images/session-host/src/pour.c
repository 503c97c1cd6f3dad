#include "pour.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

void pour_stop(struct pour *pour) {
  watch_close(&pour->watch);
  free(pour->bytes);
  pour->bytes = NULL;
}

static void on_ready(struct watch *watch, uint32_t events) {
  (void)events;
  struct pour *pour = CONTAINER(watch, struct pour, watch);
  while (pour->done < pour->count) {
    ssize_t written = write(watch->fd, pour->bytes + pour->done, pour->count - pour->done);
    if (written < 0 && errno == EAGAIN) return watch_set(watch, EPOLLOUT);
    if (written < 0) break;
    pour->done += (size_t)written;
  }
  pour_stop(pour);
}

void pour_begin(struct pour *pour, int fd, char *bytes, size_t count) {
  *pour = (struct pour){.watch = {.fd = fd, .ready = on_ready}, .bytes = bytes, .count = count};
  on_ready(&pour->watch, 0);
}
