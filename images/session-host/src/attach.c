#include "attach.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "socket_name.h"

enum { BUFFER = 128 << 10, TRIES = 400, TRY_MS = 5 };

/* The host may just be starting. */
static int connect_host(const char *name) {
  struct sockaddr_un address;
  socklen_t length = socket_address(name, &address);
  for (int i = 0; i < TRIES; i++) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, length) == 0) return fd;
    close(fd);
    nanosleep(&(struct timespec){.tv_nsec = TRY_MS * 1000000L}, NULL);
  }
  return -1;
}

static int write_all(int fd, const char *bytes, ssize_t count) {
  while (count > 0) {
    ssize_t written = write(fd, bytes, (size_t)count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return -1;
    bytes += written;
    count -= written;
  }
  return 0;
}

/* Copies what is there; -1 at the end of either side. */
static int copy(int from, int to) {
  static char buffer[BUFFER];
  ssize_t count = read(from, buffer, sizeof buffer);
  if (count < 0 && errno == EINTR) return 0;
  return count <= 0 ? -1 : write_all(to, buffer, count);
}

int attach(const char *socket) {
  prctl(PR_SET_DUMPABLE, 0);
  int host = connect_host(socket);
  if (host < 0) {
    perror("session-host attach");
    return 1;
  }
  struct pollfd ends[] = {{STDIN_FILENO, POLLIN, 0}, {host, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
  for (;;) {
    if (poll(ends, 3, -1) < 0 && errno != EINTR) return 1;
    if (ends[1].revents && copy(host, STDOUT_FILENO) < 0) return 0;
    if (ends[0].revents && copy(STDIN_FILENO, host) < 0) return 0;
    if (ends[2].revents & (POLLERR | POLLHUP)) return 0;
  }
}
