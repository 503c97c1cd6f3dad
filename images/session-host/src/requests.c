#include "requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "carry.h"
#include "channel.h"
#include "dial.h"
#include "outbox.h"
#include "owner.h"
#include "ports.h"
#include "shell.h"
#include "speech.h"
#include "terminal.h"

/* The text of a RUN as its parts come. */
struct assembly {
  uint32_t channel;
  uint8_t status;
  uint32_t window, left;
  char *text; /* NULL: the command was refused, its parts are skipped */
  size_t count;
};

static uint32_t highest;
static struct assembly assembly;

uint32_t requests_highest(void) { return highest; }

void requests_abandon(void) {
  carry_abandon();
  dials_abandon();
  ports_abandon();
  struct channel *channel = assembly.text ? channel_find(assembly.channel) : NULL;
  if (channel) channel_end(channel, NOT_RUN, 1, shell_directory());
  free(assembly.text);
  assembly = (struct assembly){0};
}

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
  /* A heredoc without its end would show a newline too many. */
  if (!count || text[count - 1] != '\n') text[count++] = '\n';
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
  if (dial_credit(request->channel, request->limit)) return true;
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

static bool do_dial(const struct request *request) {
  if (!use_number(request->channel)) return false;
  dial_open(request);
  return true;
}

static bool do_ping(const struct request *request) {
  say_begin(PONG);
  say64(request->cookie);
  say32(owner_count());
  say32(terminals_count());
  say_end();
  return true;
}

bool request_obey(const struct request *request) {
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
    case CARRY: return carry_ask(request->cookie), true;
    case GIVE: return carry_give(request);
    case DIAL: return do_dial(request);
    case SEND: return dial_send(request);
    case FINISH: return dial_finish(request->channel), true;
    case CUT: return dial_cut(request->channel), true;
    case PORTS: return ports_ask(request->cookie, request->watch), true;
    case HELLO: return false;
  }
  return false;
}

