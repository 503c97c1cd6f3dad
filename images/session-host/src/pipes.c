#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

/* The kernel allows each user 16,384 pages of pipes, sandboxes taken together: idle pipes are small. */
enum { COMMAND_PIPE = 64 << 10, OUT_PIPE = 256 << 10 };

void close_end(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void pipes_close(struct pipes *pipes) {
  int *ends[] = {pipes->text, pipes->out, pipes->err};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    close_end(&ends[i][0]);
    close_end(&ends[i][1]);
  }
  pipes->made = false;
}

/* A small pipe whose `end` of the host's does not block. */
static bool make(int ends[2], int end) {
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  fcntl(ends[end], F_SETFL, O_NONBLOCK);
  fcntl(ends[end], F_SETPIPE_SZ, SMALL_PIPE);
  return true;
}

bool pipes_make(struct pipes *pipes) {
  *pipes = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}, true};
  if (make(pipes->text, 1) && make(pipes->out, 0) && make(pipes->err, 0)) return true;
  int error = errno;
  pipes_close(pipes);
  return errno = error, false;
}

void pipes_widen(const struct pipes *pipes, size_t count) {
  fcntl(pipes->out[1], F_SETPIPE_SZ, OUT_PIPE);
  fcntl(pipes->err[1], F_SETPIPE_SZ, COMMAND_PIPE);
  if (count > SMALL_PIPE) fcntl(pipes->text[1], F_SETPIPE_SZ, COMMAND_PIPE);
}

bool line_make(struct line *line, int size) {
  int ends[2];
  watch_close(&line->watch);
  close_end(&line->far);
  if (pipe2(ends, O_CLOEXEC) < 0) return false;
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  fcntl(ends[0], F_SETPIPE_SZ, size);
  line->watch.fd = ends[0];
  line->far = ends[1];
  watch_set(&line->watch, EPOLLIN);
  return true;
}
