#include "channel.h"

#include <stdlib.h>
#include <string.h>

#include "terminal.h"

struct channel *channels;

static size_t known_count(void) {
  size_t count = 0;
  for (struct channel *channel = channels; channel; channel = channel->next) count += !channel->forgotten;
  return count;
}

static bool make_room(void) {
  if (known_count() < CHANNELS_MAX) return true;
  for (struct channel *channel = channels; channel; channel = channel->next) {
    if (!channel->ended || channel->forgotten) continue;
    channel_forget(channel);
    return true;
  }
  return false;
}

struct channel *channel_new(uint32_t id, enum kind kind) {
  struct channel *channel = make_room() ? calloc(1, sizeof *channel) : NULL;
  if (!channel) return NULL;
  channel->id = id;
  channel->kind = kind;
  for (int i = 0; i < 2; i++) channel->streams[i].watch.fd = -1;
  struct channel **link = &channels;
  while (*link) link = &(*link)->next;
  *link = channel;
  return channel;
}

struct channel *channel_find(uint32_t id) {
  for (struct channel *channel = channels; channel; channel = channel->next)
    if (channel->id == id) return channel->forgotten ? NULL : channel;
  return NULL;
}

void channel_end(struct channel *channel, enum how how, int32_t code, const char *directory) {
  channel->how = how;
  channel->code = code;
  channel->directory = strdup(directory);
  channel->ended = true;
  channel->done_due = true;
}

void channel_forget(struct channel *channel) {
  channel->forgotten = true;
  for (int i = 0; i < 2; i++) stream_discard(&channel->streams[i]);
  if (channel->terminal) terminal_hang_up(channel->terminal);
}

void channels_unfollow(void) {
  for (struct channel *channel = channels; channel; channel = channel->next)
    for (int i = 0; i < 2; i++) stream_unfollow(&channel->streams[i]);
}

static bool is_over(const struct channel *channel) {
  return channel->forgotten && !channel->terminal && stream_at_eof(&channel->streams[0]) && stream_at_eof(&channel->streams[1]);
}

static void free_channel(struct channel *channel) {
  for (int i = 0; i < 2; i++) ring_drop(&channel->streams[i].ring);
  free(channel->directory);
  free(channel);
}

static void free_forgotten(void) {
  for (struct channel **link = &channels; *link;) {
    struct channel *channel = *link;
    if (!is_over(channel)) {
      link = &channel->next;
      continue;
    }
    *link = channel->next;
    free_channel(channel);
  }
}

/* An ended stream that nobody waits for: nothing of it is left to be sent. */
static bool is_idle(const struct stream *stream) {
  return stream->ring.size && (!stream->followed || stream->sent == stream->ring.end);
}

static void shed_ended_rings(void) {
  size_t kept = ring_total, live = 0;
  for (struct channel *channel = channels; channel; channel = channel->next)
    for (int i = 0; i < 2 && !channel->ended; i++) live += channel->streams[i].ring.size;
  for (struct channel *channel = channels; channel && kept - live > ENDED_RINGS_MAX; channel = channel->next)
    for (int i = 0; i < 2 && channel->ended; i++) {
      if (!is_idle(&channel->streams[i])) continue;
      kept -= channel->streams[i].ring.size;
      ring_drop(&channel->streams[i].ring);
    }
}

void channels_settle(void) {
  free_forgotten();
  if (ring_total > ENDED_RINGS_MAX) shed_ended_rings();
}

uint32_t channel_of_pipe(ino_t inode) {
  for (struct channel *channel = channels; channel; channel = channel->next)
    for (int i = 0; i < 2; i++)
      if (channel->streams[i].inode == inode && !stream_at_eof(&channel->streams[i])) return channel->id;
  return 0;
}
