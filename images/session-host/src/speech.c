#include "speech.h"

#include "bytes.h"
#include "carry.h"
#include "channel.h"
#include "dial.h"
#include "outbox.h"
#include "ports.h"
#include "shell.h"
#include "terminal.h"

enum {
  SMALL_DATA = 4096,
  DATA_HEAD = FRAME_HEAD + 1 + 4 + 1 + 8,
};

static bool greeted;
static uint32_t next_turn; /* the channel whose output is sent first */

void say_error(uint32_t channel, enum error_code code, const char *text) {
  say_begin(ERROR);
  say32(channel);
  say8((uint8_t)code);
  say_string(text);
  say_end();
}

static void say_channel(struct channel *channel) {
  say_begin(CHANNEL);
  say32(channel->id);
  say8((uint8_t)channel->kind);
  say8(channel->ended);
  for (int i = 0; i < 2; i++) {
    say64(channel->streams[i].ring.start);
    say64(channel->streams[i].ring.end);
    say8(stream_at_eof(&channel->streams[i]));
  }
  say_end();
  channel->announce = false;
}

static void say_shell(void) {
  say_begin(SHELL);
  say32(shell_generation());
  say32((uint32_t)shell_pid());
  say32(shell_running());
  say_string(shell_directory());
  say_end();
}

static void say_done(struct channel *channel) {
  say_begin(DONE);
  say32(channel->id);
  say8((uint8_t)channel->how);
  say32((uint32_t)channel->code);
  for (int i = 0; i < 2; i++) say64(channel->streams[i].end);
  say16(channel->jobs);
  say_string(channel->directory ? channel->directory : "");
  say_end();
  channel->done_due = false;
}

static void say_end_of_stream(struct channel *channel, int stream) {
  say_begin(END);
  say32(channel->id);
  say8((uint8_t)stream);
  say64(channel->streams[stream].ring.end);
  say_end();
  channel->streams[stream].eof_sent = true;
}

static void put_data_head(uint8_t *head, const struct channel *channel, int stream, size_t count) {
  put32(head, (uint32_t)(DATA_HEAD - FRAME_HEAD + count));
  head[4] = DATA;
  put32(head + 5, channel->id);
  head[9] = (uint8_t)stream;
  put64(head + 10, channel->streams[stream].sent);
}

/* One DATA frame. Little goes the way of all frames, much straight from the ring. */
static void say_data(struct channel *channel, int index) {
  struct stream *stream = &channel->streams[index];
  if (stream->sent < stream->ring.start) stream->sent = stream->ring.start;
  uint64_t ready = stream_ready(stream);
  size_t run, rest = 0, count = ready < DATA_MAX ? (size_t)ready : DATA_MAX;
  const uint8_t *first = ring_at(&stream->ring, stream->sent, &run), *second = first;
  if (run > count) run = count;
  else if (run < count) second = ring_at(&stream->ring, stream->sent + run, &rest);
  uint8_t head[DATA_HEAD];
  put_data_head(head, channel, index, count);
  struct iovec parts[] = {{head, sizeof head}, {(void *)first, run}, {(void *)second, count - run}};
  if (count <= SMALL_DATA)
    for (int i = 0; i < 3; i++) say_bytes(parts[i].iov_base, parts[i].iov_len);
  else if (outbox_flush()) outbox_send(parts, 3);
  else return;
  stream->sent += count;
  stream_adjust(stream);
}

static void say_stream(struct channel *channel, int index) {
  struct stream *stream = &channel->streams[index];
  while (!outbox_is_blocked() && outbox_has_room() && stream_ready(stream)) say_data(channel, index);
  bool over = stream_at_eof(stream) && stream->sent >= stream->ring.end;
  if (stream->followed && over && !stream->eof_sent && outbox_has_room()) say_end_of_stream(channel, index);
}

static void say_input(struct channel *channel) {
  uint64_t total;
  if (!channel->terminal || !terminal_took_input(channel->terminal, &total)) return;
  say_begin(INPUT_DONE);
  say32(channel->id);
  say64(total);
  say_end();
}

/* False: the client takes no more for now. */
static bool say_of(struct channel *channel) {
  if (channel->forgotten) return true;
  if (!outbox_has_room()) return false;
  say_input(channel);
  for (int i = 0; i < 2; i++) say_stream(channel, i);
  if (channel->done_due && channel->kind == COMMAND) ports_check();
  if (channel->done_due && outbox_has_room()) say_done(channel);
  return !outbox_is_blocked() && outbox_has_room();
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
  for (struct channel *channel = channels; channel; channel = channel->next) {
    if (!outbox_has_room()) return;
    if (channel->announce && !channel->forgotten) say_channel(channel);
  }
  if (!outbox_has_room()) return;
  shell_is_new();
  say_shell();
  say_begin(READY);
  say_end();
  greeted = true;
}

/* A shell is announced behind the end of the command that the one before it ran. */
static bool may_announce_shell(void) {
  const struct channel *latest = channel_find(shell_latest());
  return outbox_has_room() && !shell_is_finishing() && !(latest && latest->done_due);
}

void speech_begin(uint64_t boot, uint32_t highest) {
  greeted = false;
  say_begin(WELCOME);
  say8(PROTOCOL_VERSION);
  say64(boot);
  say32(highest);
  say8(PROTOCOL_LEVEL);
  say_end();
  for (struct channel *channel = channels; channel; channel = channel->next) {
    channel->announce = true;
    channel->done_due = channel->ended;
    if (channel->terminal) terminal_tell_input(channel->terminal);
  }
}

void speech_go_on(void) {
  if (!greeted) greet();
  if (!greeted) return;
  carry_go_on();
  ports_go_on();
  if (!outbox_is_blocked()) say_all();
  dials_go_on();
  if (may_announce_shell() && shell_is_new()) say_shell();
}
