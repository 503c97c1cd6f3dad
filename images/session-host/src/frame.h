/* The frames of protocol.md: cutting them out of a byte stream and taking requests apart. Everything here is hostile. */
#ifndef FRAME_H
#define FRAME_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROTOCOL_VERSION = 1, PROTOCOL_LEVEL = 2 };
enum { FRAME_HEAD = 4, FRAME_MAX = 69632, DATA_MAX = 65536, TEXT_MAX = 4 << 20, TOKEN_SIZE = 32 };

enum request_type {
  HELLO = 0x01, RUN, TEXT, OPEN, INPUT, RESIZE, SIGNAL, CREDIT, FORGET, RESET, PING, FOLLOW, CARRY, GIVE, DIAL, SEND, FINISH, CUT, PORTS
};

enum reply_type {
  WELCOME = 0x81, CHANNEL, SHELL, READY, DATA, END, DONE, INPUT_DONE, ERROR, PONG, SNAPSHOT, DIALED, ROOM, CLOSED, LISTENING
};

enum error_code { BUSY = 1, UNKNOWN_CHANNEL, TOO_LARGE, NO_RESOURCES, NOT_STARTED, MALFORMED };

/* Where DIAL leads: 127.0.0.1 and, if that refuses, ::1; one of them; a unix socket. */
enum family { DIAL_EITHER, DIAL_V4, DIAL_V6, DIAL_PATH };

/* A request taken apart. Pointers lead into the frame; a field that the type does not have is 0. */
struct request {
  enum request_type type;
  uint32_t channel, window, total, ring;
  uint64_t from, limit, cookie;
  uint16_t rows, columns, port;
  uint8_t version, status, stream, signal, scope, keep, family, watch;
  const uint8_t *token;  /* HELLO: TOKEN_SIZE bytes */
  const uint8_t *bytes;  /* RUN, TEXT, INPUT, GIVE, SEND */
  size_t count;
  const char *directory; /* OPEN; DIAL: the socket */
  const char *arguments; /* OPEN: strings one after another */
  size_t argument_count;
  const char *variables; /* OPEN: the same; each holds a `=` behind a name */
  size_t variable_count;
};

/* Length of the first frame in a buffer, head included; 0 when it is not complete; -1 when it cannot be one. */
long frame_length(const uint8_t *buffer, size_t count);
/* Takes a frame's type and body apart. False: unknown, too short, or a field out of its range. */
bool request_decode(const uint8_t *frame, size_t count, struct request *request);

#endif
