#include "client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bytes.h"
#include "channel.h"
#include "frame.h"
#include "owner.h"
#include "process.h"
#include "serve.h"
#include "shell.h"
#include "socket_name.h"
#include "terminal.h"

enum {
  STRANGERS = 4,
  STRANGER_MS = 5000,
  BACKLOG = 64,
  HELLO_SIZE = FRAME_HEAD + 1 + 1 + TOKEN_SIZE,
  OUT_SIZE = 192 << 10,
  REPLY_MAX = 8192, /* every frame but DATA is smaller */
  SMALL_DATA = 4096,
  TURN_FRAMES = 32, /* then others have their turn */
  TURN_MS = 1,
  DATA_HEAD = FRAME_HEAD + 1 + 4 + 1 + 8,
};

/* A connection that has not shown the token. */
struct stranger {
  struct watch watch;
  struct timer deadline;
  uint8_t hello[HELLO_SIZE];
  size_t count;
  uint64_t order;
  bool outside; /* came by an exec from outside the container, not from a process in it */
};

/* The text of a RUN as its parts come. */
struct assembly {
  uint32_t channel;
  uint8_t status;
  uint32_t window, left;
  char *text; /* NULL: the command was refused, its parts are skipped */
  size_t count;
};

enum greeting { GREET_CHANNELS, GREET_SHELL, GREET_READY, GREETED };

static struct watch listener = {.fd = -1};
static struct stranger strangers[STRANGERS];
static struct timer orphaned, turn;
static unsigned orphan_ms;

static uint8_t token[TOKEN_SIZE];
static bool has_token;
static uint64_t boot;
static uint32_t highest;

static struct watch client = {.fd = -1};
static uint8_t in[FRAME_HEAD + FRAME_MAX];
static size_t in_count;
static uint8_t out[OUT_SIZE];
static size_t out_start, out_count;
static size_t frame_start;
static bool blocked;
static enum greeting greeting;
static struct assembly assembly;
static uint32_t next_turn; /* the channel whose output is sent first */

void client_erase_token(void) { explicit_bzero(token, sizeof token); }

/* ---- writing ---- */

static bool has_room(void) { return OUT_SIZE - out_start - out_count >= REPLY_MAX; }

static void say_bytes(const void *bytes, size_t count) {
  memcpy(out + out_start + out_count, bytes, count);
  out_count += count;
}

static void say8(uint8_t n) { say_bytes(&n, 1); }

static void say16(uint16_t n) {
  uint8_t bytes[2];
  put16(bytes, n);
  say_bytes(bytes, sizeof bytes);
}

static void say32(uint32_t n) {
  uint8_t bytes[4];
  put32(bytes, n);
  say_bytes(bytes, sizeof bytes);
}

static void say64(uint64_t n) {
  uint8_t bytes[8];
  put64(bytes, n);
  say_bytes(bytes, sizeof bytes);
}

static void say_string(const char *text) { say_bytes(text, strlen(text) + 1); }

static void begin(enum reply_type type) {
  frame_start = out_start + out_count;
  say32(0);
  say8((uint8_t)type);
}

static void end(void) { put32(out + frame_start, (uint32_t)(out_start + out_count - frame_start - FRAME_HEAD)); }

static void say_error(uint32_t channel, enum error_code code, const char *text) {
  begin(ERROR);
  say32(channel);
  say8((uint8_t)code);
  say_string(text);
  end();
}

/* ---- the connection ---- */

static void on_orphaned(struct timer *timer) {
  (void)timer;
  serve_end();
}

static void wait_for_client(void) {
  if (orphan_ms) timer_set(&orphaned, orphan_ms);
}

static void abandon_assembly(void) {
  struct channel *channel = assembly.text ? channel_find(assembly.channel) : NULL;
  if (channel) channel_end(channel, NOT_RUN, 1, shell_directory());
  free(assembly.text);
  assembly = (struct assembly){0};
}

static void drop_client(void) {
  if (client.fd < 0) return;
  watch_close(&client);
  timer_stop(&turn);
  in_count = out_start = out_count = 0;
  blocked = false;
  abandon_assembly();
  channels_unfollow();
  wait_for_client();
}

static bool flush(void) {
  while (out_count) {
    ssize_t count = send(client.fd, out + out_start, out_count, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return blocked = true, false;
    if (count < 0) return drop_client(), false;
    out_start += (size_t)count;
    out_count -= (size_t)count;
  }
  out_start = 0;
  return true;
}

/* ---- what the client asks ---- */

static bool use_number(uint32_t channel) {
  if (channel <= highest) return false;
  highest = channel;
  return true;
}

static void follow_all(struct channel *channel, uint32_t window) {
  for (int i = 0; i < 2; i++) stream_follow(&channel->streams[i], 0, window);
}

static const char *reason(void) { return strerror(errno); }

static void fail_channel(struct channel *channel, enum error_code code) {
  say_error(channel->id, code, reason());
  channel_forget(channel);
}

static void run_assembly(void) {
  struct channel *channel = channel_find(assembly.channel);
  char *text = assembly.text;
  size_t count = assembly.count;
  uint8_t status = assembly.status;
  uint32_t window = assembly.window;
  assembly = (struct assembly){0};
  text[count++] = '\n';
  if (!shell_run(channel, status, text, count)) {
    fail_channel(channel, errno == ENOENT || errno == EACCES ? NOT_STARTED : NO_RESOURCES);
    free(text);
    return;
  }
  follow_all(channel, window);
}

static bool add_text(const struct request *request) {
  if (request->count > assembly.left) return false;
  if (assembly.text) memcpy(assembly.text + assembly.count, request->bytes, request->count);
  assembly.count += request->count;
  assembly.left -= (uint32_t)request->count;
  if (assembly.left == 0 && assembly.text) run_assembly();
  return true;
}

static char *refuse(const struct request *request, enum error_code code, const char *text) {
  say_error(request->channel, code, text);
  return NULL;
}

/* Room for the text and a newline; NULL when the command is refused. */
static char *admit(const struct request *request) {
  if (!shell_is_free()) return refuse(request, BUSY, "a command is running");
  if (request->total > TEXT_MAX) return refuse(request, TOO_LARGE, "the command is larger than 4 MiB");
  char *text = malloc((size_t)request->total + 1);
  if (!text || !channel_new(request->channel, COMMAND)) {
    free(text);
    return refuse(request, NO_RESOURCES, "no room for another command");
  }
  return text;
}

static bool do_run(const struct request *request) {
  if (assembly.left || !use_number(request->channel)) return false;
  assembly = (struct assembly){request->channel, request->status, request->window, request->total, admit(request), 0};
  return add_text(request);
}

static bool do_text(const struct request *request) {
  return request->channel == assembly.channel && assembly.left && add_text(request);
}

static bool do_open(const struct request *request) {
  if (!use_number(request->channel)) return false;
  struct channel *channel = channel_new(request->channel, TERMINAL);
  if (!channel) return say_error(request->channel, NO_RESOURCES, "no room for another terminal"), true;
  if (!terminal_open(channel, request)) return fail_channel(channel, NOT_STARTED), true;
  follow_all(channel, request->window);
  return true;
}

/* The channel, or NULL after saying that it is not known. */
static struct channel *find(const struct request *request) {
  struct channel *channel = channel_find(request->channel);
  if (!channel) say_error(request->channel, UNKNOWN_CHANNEL, "no such channel");
  return channel;
}

static bool do_input(const struct request *request) {
  struct channel *channel = find(request);
  if (!channel) return true;
  return channel->terminal && terminal_input(channel->terminal, request->bytes, request->count);
}

static bool do_resize(const struct request *request) {
  struct channel *channel = find(request);
  if (channel && channel->terminal) terminal_resize(channel->terminal, request->rows, request->columns);
  return !channel || channel->terminal;
}

static bool do_signal(const struct request *request) {
  struct channel *channel = find(request);
  if (!channel) return true;
  if (request->scope == 2 || (request->scope == 1 && !channel->terminal)) owner_signal(channel->id, request->signal);
  else if (channel->terminal) terminal_signal(channel->terminal, request->signal, request->scope);
  else if (shell_running() == channel->id) shell_signal(request->signal);
  return true;
}

static bool do_credit(const struct request *request) {
  struct channel *channel = channel_find(request->channel);
  if (!channel) return true;
  struct stream *stream = &channel->streams[request->stream];
  if (request->limit > stream->credit) stream->credit = request->limit;
  return true;
}

static bool do_follow(const struct request *request) {
  struct channel *channel = find(request);
  if (channel) stream_follow(&channel->streams[request->stream], request->from, request->limit);
  return true;
}

static bool do_forget(const struct request *request) {
  struct channel *channel = channel_find(request->channel);
  if (channel && (channel->ended || channel->terminal)) channel_forget(channel);
  return true;
}

static bool do_ping(const struct request *request) {
  begin(PONG);
  say64(request->cookie);
  say32(owner_count());
  say32(terminals_count());
  end();
  return true;
}

/* False: the client does not keep to the protocol. */
static bool obey(const struct request *request) {
  switch (request->type) {
    case RUN: return do_run(request);
    case TEXT: return do_text(request);
    case OPEN: return do_open(request);
    case INPUT: return do_input(request);
    case RESIZE: return do_resize(request);
    case SIGNAL: return do_signal(request);
    case CREDIT: return do_credit(request);
    case FORGET: return do_forget(request);
    case RESET: return shell_reset(request->keep), true;
    case PING: return do_ping(request);
    case FOLLOW: return do_follow(request);
    case HELLO: return false;
  }
  return false;
}

/* Takes frames that are complete, so long as there is room for what they call for. */
static void take_frames(void) {
  size_t at = 0;
  long length = 0;
  int taken = 0;
  while (taken < TURN_FRAMES && has_room() && (length = frame_length(in + at, in_count - at)) > 0) {
    struct request request;
    if (!request_decode(in + at + FRAME_HEAD, (size_t)length - FRAME_HEAD, &request) || !obey(&request)) return drop_client();
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
  if (events & EPOLLOUT) blocked = false;
  if (!(events & ~(uint32_t)EPOLLOUT)) return;
  ssize_t count = recv(watch->fd, in + in_count, sizeof in - in_count, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0 && in_count < sizeof in) return drop_client();
  if (count > 0) in_count += (size_t)count;
  if (!turn.armed) take_frames();
}

/* ---- what the host has to say ---- */

static void say_channel(struct channel *channel) {
  begin(CHANNEL);
  say32(channel->id);
  say8((uint8_t)channel->kind);
  say8(channel->ended);
  for (int i = 0; i < 2; i++) {
    say64(channel->streams[i].ring.start);
    say64(channel->streams[i].ring.end);
    say8(stream_at_eof(&channel->streams[i]));
  }
  end();
  channel->announce = false;
}

static void say_shell(void) {
  begin(SHELL);
  say32(shell_generation());
  say32((uint32_t)shell_pid());
  say32(shell_running());
  say_string(shell_directory());
  end();
}

static void say_done(struct channel *channel) {
  begin(DONE);
  say32(channel->id);
  say8((uint8_t)channel->how);
  say32((uint32_t)channel->code);
  for (int i = 0; i < 2; i++) say64(channel->streams[i].end);
  say16(channel->jobs);
  say_string(channel->directory ? channel->directory : "");
  end();
  channel->done_due = false;
}

static void say_end_of_stream(struct channel *channel, int stream) {
  begin(END);
  say32(channel->id);
  say8((uint8_t)stream);
  say64(channel->streams[stream].ring.end);
  end();
  channel->streams[stream].eof_sent = true;
}

static void put_data_head(uint8_t *head, const struct channel *channel, int stream, size_t count) {
  put32(head, (uint32_t)(DATA_HEAD - FRAME_HEAD + count));
  head[4] = DATA;
  put32(head + 5, channel->id);
  head[9] = (uint8_t)stream;
  put64(head + 10, channel->streams[stream].sent);
}

/* What the socket did not take of a frame is kept. */
static void keep_rest(struct iovec *parts, int count, size_t sent) {
  for (int i = 0; i < count; i++) {
    size_t skipped = sent < parts[i].iov_len ? sent : parts[i].iov_len;
    say_bytes((uint8_t *)parts[i].iov_base + skipped, parts[i].iov_len - skipped);
    sent -= skipped;
  }
}

static bool send_parts(struct iovec *parts, int count) {
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
  ssize_t sent;
  do sent = sendmsg(client.fd, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  if (sent < 0 && errno != EAGAIN) return drop_client(), false;
  keep_rest(parts, count, sent < 0 ? 0 : (size_t)sent);
  if (out_count) blocked = true;
  return true;
}

/* One DATA frame. Little goes the way of all frames, much straight from the ring. */
static bool say_data(struct channel *channel, int index) {
  struct stream *stream = &channel->streams[index];
  if (stream->sent < stream->ring.start) stream->sent = stream->ring.start;
  uint64_t ready = stream_ready(stream);
  if (!ready) return true;
  size_t run, rest = 0, count = ready < DATA_MAX ? (size_t)ready : DATA_MAX;
  const uint8_t *first = ring_at(&stream->ring, stream->sent, &run);
  if (run > count) run = count;
  const uint8_t *second = run < count ? ring_at(&stream->ring, stream->sent + run, &rest) : first;
  uint8_t head[DATA_HEAD];
  put_data_head(head, channel, index, count);
  struct iovec parts[] = {{head, sizeof head}, {(void *)first, run}, {(void *)second, count - run}};
  if (count > SMALL_DATA && !flush()) return false;
  stream->sent += count;
  if (count <= SMALL_DATA) keep_rest(parts, 3, 0);
  else if (!send_parts(parts, 3)) return false;
  stream_adjust(stream);
  return true;
}

static bool say_stream(struct channel *channel, int index) {
  struct stream *stream = &channel->streams[index];
  while (!blocked && has_room() && stream_ready(stream))
    if (!say_data(channel, index)) return false;
  if (stream->followed && stream_at_eof(stream) && !stream->eof_sent && stream->sent >= stream->ring.end && has_room())
    say_end_of_stream(channel, index);
  return true;
}

static void say_input(struct channel *channel) {
  uint64_t total;
  if (!channel->terminal || !terminal_took_input(channel->terminal, &total)) return;
  begin(INPUT_DONE);
  say32(channel->id);
  say64(total);
  end();
}

/* False: the client is gone or takes no more. */
static bool say_of(struct channel *channel) {
  if (channel->forgotten) return true;
  if (!has_room()) return false;
  say_input(channel);
  for (int i = 0; i < 2; i++)
    if (!say_stream(channel, i)) return false;
  if (channel->done_due && has_room()) say_done(channel);
  return !blocked && has_room();
}

/* The turn goes round, so that one flood does not keep the others waiting. */
static void say_all(void) {
  struct channel *stopped = NULL;
  for (struct channel *channel = channels; channel && !stopped; channel = channel->next)
    if (channel->id >= next_turn && !say_of(channel)) stopped = channel;
  for (struct channel *channel = channels; channel && !stopped; channel = channel->next)
    if (channel->id < next_turn && !say_of(channel)) stopped = channel;
  next_turn = stopped ? stopped->id + 1 : 0;
}

static void greet(void) {
  for (struct channel *channel = channels; channel && greeting == GREET_CHANNELS; channel = channel->next) {
    if (!has_room()) return;
    if (channel->announce && !channel->forgotten) say_channel(channel);
  }
  if (!has_room()) return;
  shell_is_new();
  say_shell();
  begin(READY);
  end();
  greeting = GREETED;
}

/* A shell is announced behind the end of the command that the one before it ran. */
static bool may_announce_shell(void) {
  const struct channel *latest = channel_find(shell_latest());
  return has_room() && !(latest && latest->done_due);
}

void client_settle(void) {
  if (client.fd < 0) return;
  if (!blocked) flush();
  if (client.fd < 0) return;
  if (in_count && !turn.armed) take_frames();
  if (client.fd < 0) return;
  if (greeting != GREETED) greet();
  if (greeting == GREETED && !blocked) say_all();
  if (client.fd < 0) return;
  if (greeting == GREETED && may_announce_shell() && shell_is_new()) say_shell();
  if (!blocked) flush();
  if (client.fd < 0) return;
  watch_set(&client, (has_room() && !turn.armed ? EPOLLIN : 0) | (blocked ? EPOLLOUT : 0));
}

/* ---- strangers ---- */

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

static void welcome(int fd) {
  drop_client();
  timer_stop(&orphaned);
  client.fd = fd;
  client.events = 0;
  greeting = GREET_CHANNELS;
  begin(WELCOME);
  say8(PROTOCOL_VERSION);
  say64(boot);
  say32(highest);
  end();
  for (struct channel *channel = channels; channel; channel = channel->next) {
    channel->announce = true;
    channel->done_due = channel->ended;
    if (channel->terminal) terminal_tell_input(channel->terminal);
  }
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
  welcome(fd);
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
  timer_set(&stranger->deadline, STRANGER_MS);
  watch_set(&stranger->watch, EPOLLIN);
}

static void on_listener(struct watch *watch, uint32_t events) {
  (void)events;
  int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd >= 0) receive_stranger(fd);
}

bool client_listen(const char *name, unsigned orphan_seconds) {
  struct sockaddr_un address;
  socklen_t length = socket_address(name, &address);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, BACKLOG) < 0) return false;
  if (getrandom(&boot, sizeof boot, 0) != sizeof boot) return false;
  for (int i = 0; i < STRANGERS; i++) strangers[i].watch.fd = -1;
  client.ready = on_client;
  orphaned.fire = on_orphaned;
  turn.fire = on_turn;
  orphan_ms = orphan_seconds * 1000;
  listener = (struct watch){.fd = fd, .ready = on_listener};
  watch_set(&listener, EPOLLIN);
  wait_for_client();
  return true;
}
