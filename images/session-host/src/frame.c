#include "frame.h"

#include <string.h>

#include "bytes.h"

long frame_length(const uint8_t *buffer, size_t count) {
  if (count < FRAME_HEAD) return 0;
  uint32_t length = get32(buffer);
  if (length < 1 || length > FRAME_MAX) return -1;
  return count < FRAME_HEAD + (size_t)length ? 0 : FRAME_HEAD + (long)length;
}

/* What is left of a frame's body. */
struct body {
  const uint8_t *at;
  size_t left;
  bool is_short;
};

static const uint8_t *take(struct body *body, size_t count) {
  static const uint8_t nothing[TOKEN_SIZE];
  if (body->left < count) {
    body->is_short = true;
    body->left = 0;
    return nothing;
  }
  const uint8_t *at = body->at;
  body->at += count;
  body->left -= count;
  return at;
}

static uint8_t take8(struct body *body) { return *take(body, 1); }
static uint16_t take16(struct body *body) { return get16(take(body, 2)); }
static uint32_t take32(struct body *body) { return get32(take(body, 4)); }
static uint64_t take64(struct body *body) { return get64(take(body, 8)); }

static const char *take_string(struct body *body) {
  const uint8_t *end = body->left ? memchr(body->at, 0, body->left) : NULL;
  if (!end) {
    body->is_short = true;
    return "";
  }
  return (const char *)take(body, (size_t)(end - body->at) + 1);
}

static void take_rest(struct body *body, struct request *request) {
  request->count = body->left;
  request->bytes = take(body, body->left);
}

static void take_arguments(struct body *body, struct request *request) {
  request->arguments = (const char *)body->at;
  while (!body->is_short && *take_string(body)) request->argument_count++;
}

static bool take_variables(struct body *body, struct request *request) {
  request->variables = (const char *)body->at;
  while (body->left && !body->is_short) {
    const char *variable = take_string(body), *sign = strchr(variable, '=');
    if (!sign || sign == variable) return false;
    request->variable_count++;
  }
  return true;
}

static bool take_open(struct body *body, struct request *request) {
  request->rows = take16(body);
  request->columns = take16(body);
  request->window = take32(body);
  request->ring = take32(body);
  request->directory = take_string(body);
  take_arguments(body, request);
  return take_variables(body, request);
}

static bool take_run(struct body *body, struct request *request) {
  request->status = take8(body);
  request->window = take32(body);
  request->total = take32(body);
  take_rest(body, request);
  return request->count <= request->total && request->count <= DATA_MAX;
}

static bool take_part(struct body *body, struct request *request) {
  take_rest(body, request);
  return request->count <= DATA_MAX;
}

static bool take_resize(struct body *body, struct request *request) {
  request->rows = take16(body);
  request->columns = take16(body);
  return true;
}

static bool take_signal(struct body *body, struct request *request) {
  request->signal = take8(body);
  request->scope = take8(body);
  return request->signal >= 1 && request->signal <= 64 && request->scope <= 2;
}

static bool take_credit(struct body *body, struct request *request) {
  request->stream = take8(body);
  request->limit = take64(body);
  return request->stream <= 1;
}

static bool take_follow(struct body *body, struct request *request) {
  request->stream = take8(body);
  request->from = take64(body);
  request->limit = take64(body);
  return request->stream <= 1;
}

static bool take_gift(struct body *body, struct request *request) {
  request->total = take32(body);
  take_rest(body, request);
  return request->count > 0 && request->count <= DATA_MAX;
}

static bool take_dial(struct body *body, struct request *request) {
  request->family = take8(body);
  request->port = take16(body);
  request->window = take32(body);
  request->directory = take_string(body);
  return request->family == DIAL_PATH ? !request->port : request->family < DIAL_PATH && request->port && !*request->directory;
}

static bool take_ports(struct body *body, struct request *request) {
  request->cookie = take64(body);
  request->watch = take8(body);
  return request->watch <= 2;
}

static bool take_nothing(struct body *body, struct request *request) {
  (void)body, (void)request;
  return true;
}

/* What follows the channel number, by type. */
static bool (*const fields[])(struct body *, struct request *) = {
    [RUN] = take_run,       [TEXT] = take_part,     [OPEN] = take_open,      [INPUT] = take_part,    [RESIZE] = take_resize,
    [SIGNAL] = take_signal, [CREDIT] = take_credit, [FORGET] = take_nothing, [FOLLOW] = take_follow,
    [DIAL] = take_dial,     [SEND] = take_part, [FINISH] = take_nothing, [CUT] = take_nothing,
};

static bool take_fields(struct body *body, struct request *request) {
  switch (request->type) {
    case HELLO:
      request->version = take8(body);
      request->token = take(body, TOKEN_SIZE);
      return true;
    case RESET:
      request->keep = take8(body);
      return request->keep <= 1;
    case PING:
    case CARRY:
      request->cookie = take64(body);
      return true;
    case GIVE: return take_gift(body, request);
    case PORTS: return take_ports(body, request);
    default:
      if (request->type > CUT || !fields[request->type]) return false;
      request->channel = take32(body);
      return fields[request->type](body, request);
  }
}

bool request_decode(const uint8_t *frame, size_t count, struct request *request) {
  struct body body = {.at = frame, .left = count};
  *request = (struct request){.type = take8(&body)};
  return take_fields(&body, request) && !body.is_short && body.left == 0;
}
