#include "outbox.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "bytes.h"

enum { SIZE = 192 << 10 };

static int socket_fd = -1;
static uint8_t store[SIZE];
static size_t first, stored; /* where what is stored begins, and how much it is */
static size_t frame;         /* where the frame that is being said begins */
static bool blocked, broken;

void outbox_open(int fd) {
  socket_fd = fd;
  first = stored = 0;
  blocked = broken = false;
}

bool outbox_has_room(void) { return !broken && SIZE - first - stored >= REPLY_MAX; }
bool outbox_is_blocked(void) { return blocked || broken; }
void outbox_resume(void) { blocked = false; }
bool outbox_is_broken(void) { return broken; }

/* How many bytes the socket took; 0 when it is blocked or broken. */
static size_t send_now(struct iovec *parts, int count) {
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
  ssize_t sent;
  do sent = sendmsg(socket_fd, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return (size_t)sent;
  if (errno == EAGAIN) blocked = true;
  else broken = true;
  return 0;
}

bool outbox_flush(void) {
  while (stored && !outbox_is_blocked()) {
    struct iovec part = {store + first, stored};
    size_t sent = send_now(&part, 1);
    first += sent;
    stored -= sent;
  }
  if (stored) return false;
  first = 0;
  return !broken;
}

void outbox_send(struct iovec *parts, int count) {
  size_t sent = send_now(parts, count);
  for (int i = 0; i < count; i++) {
    size_t skipped = sent < parts[i].iov_len ? sent : parts[i].iov_len;
    say_bytes((uint8_t *)parts[i].iov_base + skipped, parts[i].iov_len - skipped);
    sent -= skipped;
  }
  if (stored) blocked = true;
}

void say_bytes(const void *bytes, size_t count) {
  memcpy(store + first + stored, bytes, count);
  stored += count;
}

void say8(uint8_t n) { say_bytes(&n, 1); }

void say16(uint16_t n) {
  uint8_t bytes[2];
  put16(bytes, n);
  say_bytes(bytes, sizeof bytes);
}

void say32(uint32_t n) {
  uint8_t bytes[4];
  put32(bytes, n);
  say_bytes(bytes, sizeof bytes);
}

void say64(uint64_t n) {
  uint8_t bytes[8];
  put64(bytes, n);
  say_bytes(bytes, sizeof bytes);
}

void say_string(const char *text) { say_bytes(text, strlen(text) + 1); }

void say_begin(enum reply_type type) {
  frame = first + stored;
  say32(0);
  say8((uint8_t)type);
}

void say_end(void) { put32(store + frame, (uint32_t)(first + stored - frame - FRAME_HEAD)); }
