/* What the host knows of every command and terminal: the streams and, at the end, the result. */
#ifndef CHANNEL_H
#define CHANNEL_H
#include "stream.h"

enum { CHANNELS_MAX = 256, ENDED_RINGS_MAX = 4 << 20 };
enum kind { COMMAND = 1, TERMINAL = 2 };
enum how { REPORTED, SHELL_DIED, NOT_RUN, TERMINAL_ENDED };

struct terminal;

struct channel {
  uint32_t id;
  enum kind kind;
  struct stream streams[2];
  bool ended;
  bool forgotten;   /* unknown to the client; lives until its descriptors and its process have ended */
  bool announce;    /* a CHANNEL frame is due */
  bool done_due;    /* a DONE frame is due */
  enum how how;
  int32_t code;
  uint16_t jobs;    /* processes it left behind */
  char *directory;  /* the shell's, at the end */
  struct terminal *terminal;
  struct channel *next; /* ids ascend */
};

extern struct channel *channels;

/* NULL when as many as may be are known and none of them has ended. The oldest ended one makes room. */
struct channel *channel_new(uint32_t id, enum kind kind);
/* NULL when it is unknown or forgotten. */
struct channel *channel_find(uint32_t id);
/* The result; `end` of both streams must be known. */
void channel_end(struct channel *channel, enum how how, int32_t code, const char *directory);
/* The output goes, what still comes is read and thrown away. */
void channel_forget(struct channel *channel);
/* No client is there any more. */
void channels_unfollow(void);
/* Frees what is forgotten and over, and the oldest output of ended channels when it grows too large. */
void channels_settle(void);
/* The channel whose pipe this is; 0 when there is none. */
uint32_t channel_of_pipe(ino_t inode);

#endif
