#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "channel.h"
#include "frame.h"
#include "loop.h"
#include "requests.h"
#include "outbox.h"
#include "serve.h"
#include "speech.h"
#include "stranger.h"

enum {
  TURN_FRAMES = 32, /* then others have their turn */
  TURN_MS = 1,
};

static struct watch client = {.fd = -1};
static struct timer orphaned, turn;
static unsigned orphan_ms;
static uint64_t boot;
static uint8_t in[FRAME_HEAD + FRAME_MAX];
static size_t in_count;

static void on_orphaned(struct timer *timer) {
  (void)timer;
  serve_end();
}

static void drop_client(void) {
  if (client.fd < 0) return;
  watch_close(&client);
  timer_stop(&turn);
  in_count = 0;
  requests_abandon();
  channels_unfollow();
  if (orphan_ms) timer_set(&orphaned, orphan_ms);
}

/* Takes frames that are complete, so long as there is room for what they call for. */
static void take_frames(void) {
  size_t at = 0;
  long length = 0;
  int taken = 0;
  while (taken < TURN_FRAMES && outbox_has_room() && (length = frame_length(in + at, in_count - at)) > 0) {
    struct request request;
    const uint8_t *frame = in + at + FRAME_HEAD;
    if (!request_decode(frame, (size_t)length - FRAME_HEAD, &request) || !request_obey(&request)) return drop_client();
    at += (size_t)length;
    taken++;
  }
  if (length < 0) return drop_client();
  in_count -= at;
  memmove(in, in + at, in_count);
  if (taken == TURN_FRAMES) timer_set(&turn, TURN_MS);
}

static void on_turn(struct timer *timer) {
  (void)timer;
  if (client.fd >= 0) take_frames();
}

static void on_client(struct watch *watch, uint32_t events) {
  if (events & EPOLLOUT) outbox_resume();
  if (!(events & ~(uint32_t)EPOLLOUT)) return;
  ssize_t count = recv(watch->fd, in + in_count, sizeof in - in_count, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0 && in_count < sizeof in) return drop_client();
  if (count > 0) in_count += (size_t)count;
  if (!turn.armed) take_frames();
}

/* A connection that has shown the token takes the place of the one before it. */
static void on_known(int fd) {
  drop_client();
  timer_stop(&orphaned);
  client.fd = fd;
  client.events = 0;
  outbox_open(fd);
  speech_begin(boot, requests_highest());
}

void client_settle(void) {
  if (client.fd < 0) return;
  outbox_flush();
  if (in_count && !turn.armed) take_frames();
  if (client.fd < 0) return;
  speech_go_on();
  outbox_flush();
  if (outbox_is_broken()) return drop_client();
  bool may_listen = outbox_has_room() && !turn.armed;
  watch_set(&client, (may_listen ? EPOLLIN : 0) | (outbox_is_blocked() ? EPOLLOUT : 0));
}

bool client_await(const char *name, unsigned orphan_seconds) {
  if (getrandom(&boot, sizeof boot, 0) != sizeof boot || !strangers_listen(name, on_known)) return false;
  client.ready = on_client;
  turn.fire = on_turn;
  orphaned.fire = on_orphaned;
  orphan_ms = orphan_seconds * 1000;
  if (orphan_ms) timer_set(&orphaned, orphan_ms);
  return true;
}
