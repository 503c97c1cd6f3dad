#include "stranger.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bytes.h"
#include "frame.h"
#include "loop.h"
#include "process.h"
#include "socket_name.h"

enum {
  STRANGERS = 4,
  PATIENCE_MS = 5000,
  BACKLOG = 64,
  HELLO_SIZE = FRAME_HEAD + 1 + 1 + TOKEN_SIZE,
};

struct stranger {
  struct watch watch;
  struct timer deadline;
  uint8_t hello[HELLO_SIZE];
  size_t count;
  uint64_t order;
  bool outside; /* came by an exec from outside the container, not from a process in it */
};

static struct watch listener = {.fd = -1};
static struct stranger strangers[STRANGERS];
static uint8_t token[TOKEN_SIZE];
static bool has_token;
static void (*when_known)(int fd);

void strangers_erase_token(void) { explicit_bzero(token, sizeof token); }

static void drop_stranger(struct stranger *stranger) {
  explicit_bzero(stranger->hello, sizeof stranger->hello);
  watch_close(&stranger->watch);
  timer_stop(&stranger->deadline);
}

static bool knows_token(const uint8_t *given) {
  if (!has_token) memcpy(token, given, TOKEN_SIZE);
  has_token = true;
  uint8_t difference = 0;
  for (int i = 0; i < TOKEN_SIZE; i++) difference |= token[i] ^ given[i];
  return difference == 0;
}

/* The descriptor goes from the stranger to the client. */
static void admit_stranger(struct stranger *stranger) {
  struct request request;
  const uint8_t *body = stranger->hello + FRAME_HEAD;
  bool well_formed = request_decode(body, HELLO_SIZE - FRAME_HEAD, &request) && request.type == HELLO;
  if (!well_formed || request.version != PROTOCOL_VERSION || !knows_token(request.token)) return drop_stranger(stranger);
  int fd = stranger->watch.fd;
  watch_set(&stranger->watch, 0);
  stranger->watch.fd = -1;
  drop_stranger(stranger);
  when_known(fd);
}

static void on_stranger(struct watch *watch, uint32_t events) {
  (void)events;
  struct stranger *stranger = CONTAINER(watch, struct stranger, watch);
  ssize_t count = recv(watch->fd, stranger->hello + stranger->count, HELLO_SIZE - stranger->count, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) return drop_stranger(stranger);
  stranger->count += (size_t)count;
  if (stranger->count >= FRAME_HEAD && get32(stranger->hello) != HELLO_SIZE - FRAME_HEAD) return drop_stranger(stranger);
  if (stranger->count == HELLO_SIZE) admit_stranger(stranger);
}

static void on_deadline(struct timer *timer) { drop_stranger(CONTAINER(timer, struct stranger, deadline)); }

/* A process of the container has a parent in it; one that an exec started has none. */
static bool is_from_outside(int fd) {
  struct ucred peer = {0};
  socklen_t size = sizeof peer;
  struct process process;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return false;
  return process_read(peer.pid, &process) && process.parent == 0;
}

static bool yields_to(const struct stranger *a, const struct stranger *b) {
  return a->outside != b->outside ? !a->outside : a->order < b->order;
}

/* A free place, or that of the one who waits longest; those from outside yield to each other only. NULL: none. */
static struct stranger *place(bool outside) {
  struct stranger *first = &strangers[0];
  for (int i = 0; i < STRANGERS; i++) {
    if (strangers[i].watch.fd < 0) return &strangers[i];
    if (yields_to(&strangers[i], first)) first = &strangers[i];
  }
  if (first->outside && !outside) return NULL;
  drop_stranger(first);
  return first;
}

static void receive_stranger(int fd) {
  static uint64_t order;
  bool outside = is_from_outside(fd);
  struct stranger *stranger = place(outside);
  if (!stranger) {
    close(fd);
    return;
  }
  *stranger = (struct stranger){.watch = {.fd = fd, .ready = on_stranger}, .deadline = {.fire = on_deadline}};
  stranger->order = ++order;
  stranger->outside = outside;
  timer_set(&stranger->deadline, PATIENCE_MS);
  watch_set(&stranger->watch, EPOLLIN);
}

static void on_listener(struct watch *watch, uint32_t events) {
  (void)events;
  int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) receive_stranger(fd);
}

bool strangers_listen(const char *name, void (*known)(int fd)) {
  struct sockaddr_un address;
  socklen_t length = socket_address(name, &address);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0) return false;
  for (int i = 0; i < STRANGERS; i++) strangers[i].watch.fd = -1;
  when_known = known;
  listener = (struct watch){.fd = fd, .ready = on_listener};
  watch_set(&listener, EPOLLIN);
  return true;
}
