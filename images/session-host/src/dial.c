#include "dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bytes.h"
#include "loop.h"
#include "outbox.h"

enum { DATA_HEAD = FRAME_HEAD + 1 + 4 + 1 + 8, SMALL_DATA = 4096 };
enum outcome { OPEN_STILL, ENDED, REFUSED, BROKEN, FAILED };

struct dial {
  struct watch watch;
  uint32_t id;
  uint16_t port;
  bool try_v6;          /* ::1 is next when 127.0.0.1 refuses */
  bool refused;         /* 127.0.0.1 has; that counts where there is no ::1 */
  bool connecting, dialed_due;
  bool readable;        /* there is something to be read, an end or an error maybe */
  bool ended;           /* the program sends no more */
  bool finish;          /* the client sends no more */
  bool finished;        /* and the program has been told */
  bool gone;            /* nothing is to be said of it any more */
  enum outcome outcome;
  int error;
  uint64_t sent, credit;    /* to the client: the offset, and where it must stop */
  uint64_t received, room;  /* from the client: the same */
  uint8_t *held;            /* from the client, for a program that does not read; DIAL_ROOM bytes */
  size_t first, count;
};

static struct dial *dials[DIALS_MAX];
static size_t dial_count, turn;

static struct dial *find(uint32_t id) {
  for (size_t i = 0; i < dial_count; i++)
    if (dials[i]->id == id) return dials[i]->gone ? NULL : dials[i];
  return NULL;
}

static void drop_held(struct dial *dial) {
  free(dial->held);
  dial->held = NULL;
  dial->first = dial->count = 0;
}

/* The first cause counts. The client hears of it with CLOSED. */
static void end(struct dial *dial, enum outcome outcome, int error) {
  if (dial->outcome != OPEN_STILL) return;
  dial->outcome = outcome;
  dial->error = error;
  dial->connecting = false;
  drop_held(dial);
  watch_close(&dial->watch);
}

static void end_by(struct dial *dial, int error) {
  bool refused = dial->refused || error == ECONNREFUSED || error == ENOENT;
  bool reset = !refused && (error == ECONNRESET || error == EPIPE);
  end(dial, refused ? REFUSED : reset ? BROKEN : FAILED, error);
}

static void end_if_over(struct dial *dial) {
  if (dial->ended && dial->finished) end(dial, ENDED, 0);
}

static void tell_finish(struct dial *dial) {
  if (!dial->finish || dial->finished || dial->count || dial->connecting || dial->watch.fd < 0) return;
  shutdown(dial->watch.fd, SHUT_WR);
  dial->finished = true;
}

/* How many bytes the program took at once; an error ends the connection. */
static size_t write_now(struct dial *dial, const uint8_t *bytes, size_t count) {
  if (dial->connecting || dial->watch.fd < 0) return 0;
  ssize_t sent;
  do sent = send(dial->watch.fd, bytes, count, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent >= 0) return (size_t)sent;
  if (errno != EAGAIN) end_by(dial, errno);
  return 0;
}

static void write_held(struct dial *dial) {
  if (!dial->count) return;
  size_t sent = write_now(dial, dial->held + dial->first, dial->count);
  dial->first += sent;
  dial->count -= sent;
  if (!dial->count) drop_held(dial);
}

static bool hold(struct dial *dial, const uint8_t *bytes, size_t count) {
  if (!dial->held && !(dial->held = malloc(DIAL_ROOM))) return false;
  if (dial->first) memmove(dial->held, dial->held + dial->first, dial->count);
  dial->first = 0;
  memcpy(dial->held + dial->count, bytes, count);
  dial->count += count;
  return true;
}

/* A connection over loopback is made, or refused, at once; one to a full backlog takes a while. */
static void connect_to(struct dial *dial, const struct sockaddr *address, socklen_t size) {
  watch_close(&dial->watch);
  dial->watch.events = 0;
  dial->watch.fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (dial->watch.fd < 0) return end(dial, FAILED, errno);
  int yes = 1;
  if (address->sa_family != AF_UNIX) setsockopt(dial->watch.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  dial->connecting = true;
  if (connect(dial->watch.fd, address, size) < 0 && errno != EINPROGRESS) end_by(dial, errno);
}

static void connect_v4(struct dial *dial) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(dial->port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  connect_to(dial, (const struct sockaddr *)&address, sizeof address);
}

static void connect_v6(struct dial *dial) {
  struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons(dial->port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
  dial->try_v6 = false;
  connect_to(dial, (const struct sockaddr *)&address, sizeof address);
}

static void connect_path(struct dial *dial, const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  size_t length = strlen(path);
  if (path[0] != '/' || length >= sizeof address.sun_path) return end(dial, FAILED, ENAMETOOLONG);
  memcpy(address.sun_path, path, length);
  connect_to(dial, (const struct sockaddr *)&address, sizeof address);
}

static void on_connected(struct dial *dial) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(dial->watch.fd, SOL_SOCKET, SO_ERROR, &error, &size);
  if (error && dial->try_v6) {
    dial->refused = error == ECONNREFUSED;
    return connect_v6(dial);
  }
  if (error) return end_by(dial, error);
  dial->connecting = dial->refused = false;
  dial->dialed_due = true;
}

static void on_ready(struct watch *watch, uint32_t events) {
  struct dial *dial = CONTAINER(watch, struct dial, watch);
  if (dial->connecting) {
    on_connected(dial);
    if (dial->connecting || dial->watch.fd < 0) return;
  }
  write_held(dial);
  tell_finish(dial);
  if (events & ~(uint32_t)EPOLLOUT) dial->readable = true;
  end_if_over(dial);
}

static struct dial *add(const struct request *request) {
  if (dial_count == DIALS_MAX) return NULL;
  struct dial *dial = calloc(1, sizeof *dial);
  if (!dial) return NULL;
  *dial = (struct dial){.id = request->channel, .port = request->port, .credit = request->window, .room = DIAL_ROOM};
  dial->watch = (struct watch){.fd = -1, .ready = on_ready};
  dials[dial_count++] = dial;
  return dial;
}

static void say_closed(uint32_t channel, enum outcome outcome, const char *text) {
  say_begin(CLOSED);
  say32(channel);
  say8((uint8_t)(outcome - ENDED));
  say_string(text);
  say_end();
}

void dial_open(const struct request *request) {
  struct dial *dial = add(request);
  if (!dial) return say_closed(request->channel, FAILED, "too many connections");
  dial->try_v6 = request->family == DIAL_EITHER;
  if (request->family == DIAL_PATH) connect_path(dial, request->directory);
  else if (request->family == DIAL_V6) connect_v6(dial);
  else connect_v4(dial);
  /* Without a loopback of IPv4 the other one may still be there. */
  if (dial->outcome != OPEN_STILL && dial->try_v6) {
    dial->outcome = OPEN_STILL;
    connect_v6(dial);
  }
}

bool dial_send(const struct request *request) {
  struct dial *dial = find(request->channel);
  if (!dial) return true;
  dial->received += request->count;
  if (dial->finish || dial->received > dial->room) return false;
  if (dial->outcome != OPEN_STILL) return true;
  size_t sent = dial->count ? 0 : write_now(dial, request->bytes, request->count);
  if (dial->outcome != OPEN_STILL || sent == request->count) return true;
  if (!hold(dial, request->bytes + sent, request->count - sent)) end(dial, FAILED, ENOMEM);
  return true;
}

void dial_finish(uint32_t channel) {
  struct dial *dial = find(channel);
  if (!dial) return;
  dial->finish = true;
  tell_finish(dial);
  end_if_over(dial);
}

static void cut(struct dial *dial) {
  struct linger reset = {.l_onoff = 1, .l_linger = 0};
  if (dial->watch.fd >= 0) setsockopt(dial->watch.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  end(dial, BROKEN, 0);
  dial->gone = true;
}

void dial_cut(uint32_t channel) {
  struct dial *dial = find(channel);
  if (dial) cut(dial);
}

bool dial_credit(uint32_t channel, uint64_t limit) {
  struct dial *dial = find(channel);
  if (dial && limit > dial->credit) dial->credit = limit;
  return dial;
}

void dials_abandon(void) {
  for (size_t i = 0; i < dial_count; i++) cut(dials[i]);
}

static void say_dialed(struct dial *dial) {
  say_begin(DIALED);
  say32(dial->id);
  say_end();
  dial->dialed_due = false;
}

static void say_room(struct dial *dial) {
  uint64_t room = dial->received - dial->count + DIAL_ROOM;
  if (room - dial->room < DIAL_ROOM / 4 || dial->finish || dial->outcome != OPEN_STILL) return;
  say_begin(ROOM);
  say32(dial->id);
  say64(room);
  say_end();
  dial->room = room;
}

static void say_program_ended(struct dial *dial) {
  dial->ended = true;
  say_begin(END);
  say32(dial->id);
  say8(0);
  say64(dial->sent);
  say_end();
  end_if_over(dial);
}

static void put_data_head(uint8_t *head, const struct dial *dial, size_t count) {
  put32(head, (uint32_t)(DATA_HEAD - FRAME_HEAD + count));
  head[4] = DATA;
  put32(head + 5, dial->id);
  head[9] = 0;
  put64(head + 10, dial->sent);
}

/* One read, straight on to the client. */
static void pass_on(struct dial *dial) {
  static uint8_t bytes[DATA_MAX];
  uint64_t left = dial->credit - dial->sent;
  if (!left || !outbox_flush()) return;
  dial->readable = false;
  ssize_t count = recv(dial->watch.fd, bytes, left < DATA_MAX ? (size_t)left : DATA_MAX, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count < 0) return end_by(dial, errno);
  if (count == 0) return say_program_ended(dial);
  uint8_t head[DATA_HEAD];
  put_data_head(head, dial, (size_t)count);
  struct iovec parts[] = {{head, sizeof head}, {bytes, (size_t)count}};
  outbox_send(parts, 2);
  dial->sent += (uint64_t)count;
}

static const char *text_of(const struct dial *dial) { return dial->error ? strerror(dial->error) : ""; }

/* False: the client takes no more for now. */
static bool say_of(struct dial *dial) {
  if (dial->gone) return true;
  if (!outbox_has_room() || outbox_is_blocked()) return false;
  if (dial->dialed_due) say_dialed(dial);
  say_room(dial);
  if (dial->readable && !dial->ended && dial->outcome == OPEN_STILL) pass_on(dial);
  if (dial->outcome != OPEN_STILL && outbox_has_room()) {
    say_closed(dial->id, dial->outcome, text_of(dial));
    dial->gone = true;
  }
  return true;
}

/* The turn goes round, so that one flood does not keep the others waiting. */
void dials_go_on(void) {
  for (size_t i = 0; i < dial_count; i++) {
    if (!say_of(dials[(turn + i) % dial_count])) {
      turn = (turn + i) % dial_count;
      return;
    }
  }
}

static void listen_to(struct dial *dial) {
  bool may_read = !dial->connecting && !dial->ended && dial->credit > dial->sent && !outbox_is_blocked();
  watch_set(&dial->watch, (may_read ? EPOLLIN : 0) | (dial->connecting || dial->count ? EPOLLOUT : 0));
}

void dials_settle(void) {
  for (size_t i = 0; i < dial_count;) {
    struct dial *dial = dials[i];
    if (!dial->gone) {
      listen_to(dial);
      i++;
      continue;
    }
    dials[i] = dials[--dial_count];
    free(dial);
  }
  if (turn >= dial_count) turn = 0;
}
