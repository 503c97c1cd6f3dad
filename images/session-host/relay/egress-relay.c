/*
 * egress-relay SOCKET PORT
 *
 * Listens on 127.0.0.1:PORT and joins each connection to the unix socket SOCKET: for programs that know an HTTP proxy
 * by host and port only. Says "ready" on stdout once it listens, and ends when its stdin does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { PAIRS_MAX = 256, BUFFER = 16 * 1024, BACKLOG = 128 };

/* One direction of a pair: what was read from one end and not yet written to the other. */
struct flow {
  char *bytes;
  size_t start, end;
  bool eof, shut;
};

struct pair {
  int fd[2];
  struct flow flow[2]; /* flow[i] is read from fd[i] and written to fd[1 - i] */
};

static struct pair pairs[PAIRS_MAX];
static size_t count;
static struct sockaddr_un target = {.sun_family = AF_UNIX};

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static int listen_on(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd < 0) fail("socket");
  /* A relay that is about to end may still have the port. */
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(fd, BACKLOG) < 0) fail("listen");
  return fd;
}

static void pair_free(struct pair *pair) {
  for (int i = 0; i < 2; i++) {
    close(pair->fd[i]);
    free(pair->flow[i].bytes);
  }
}

static bool pair_make(struct pair *pair, int client) {
  int proxy = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (proxy < 0) return false;
  /* A full backlog is awaited: a client that has connected is not turned away for it. */
  if (connect(proxy, (struct sockaddr *)&target, sizeof target) < 0) return close(proxy), false;
  fcntl(proxy, F_SETFL, O_NONBLOCK);
  *pair = (struct pair){.fd = {client, proxy}};
  for (int i = 0; i < 2; i++) pair->flow[i].bytes = malloc(BUFFER);
  if (pair->flow[0].bytes && pair->flow[1].bytes) return true;
  free(pair->flow[0].bytes);
  free(pair->flow[1].bytes);
  close(proxy);
  return false;
}

static void accept_one(int listener) {
  int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (client < 0) return;
  if (pair_make(&pairs[count], client)) count++;
  else close(client);
}

static bool would_block(void) { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

static bool flow_read(struct flow *flow, int from) {
  if (flow->eof || flow->end == BUFFER) return true;
  ssize_t got = read(from, flow->bytes + flow->end, BUFFER - flow->end);
  if (got < 0) return would_block();
  if (got == 0) flow->eof = true;
  flow->end += (size_t)got;
  return true;
}

static bool flow_write(struct flow *flow, int to) {
  if (flow->start < flow->end) {
    ssize_t put = send(to, flow->bytes + flow->start, flow->end - flow->start, MSG_NOSIGNAL);
    if (put < 0) return would_block();
    flow->start += (size_t)put;
  }
  if (flow->start == flow->end) flow->start = flow->end = 0;
  if (flow->eof && flow->end == 0 && !flow->shut) {
    shutdown(to, SHUT_WR);
    flow->shut = true;
  }
  return true;
}

/* False when the pair is over. */
static bool pair_move(struct pair *pair, const struct pollfd *polled) {
  for (int i = 0; i < 2; i++) {
    if (polled[i].revents & (POLLERR | POLLNVAL)) return false;
    if (polled[i].revents & (POLLIN | POLLHUP) && !flow_read(&pair->flow[i], pair->fd[i])) return false;
  }
  for (int i = 0; i < 2; i++)
    if (!flow_write(&pair->flow[i], pair->fd[1 - i])) return false;
  return !(pair->flow[0].shut && pair->flow[1].shut);
}

/* An end that can neither be read nor has anything to be written is not polled: a hang-up would be told for ever. */
static struct pollfd poll_end(const struct pair *pair, int i) {
  const struct flow *in = &pair->flow[i], *out = &pair->flow[1 - i];
  short events = (short)((!in->eof && in->end < BUFFER ? POLLIN : 0) | (out->start < out->end ? POLLOUT : 0));
  return (struct pollfd){.fd = events ? pair->fd[i] : -1, .events = events};
}

static void move_all(const struct pollfd *polled, size_t known) {
  size_t kept = 0;
  for (size_t i = 0; i < known; i++) {
    if (pair_move(&pairs[i], &polled[2 * i])) pairs[kept++] = pairs[i];
    else pair_free(&pairs[i]);
  }
  count = kept;
}

static bool stdin_ended(short revents) {
  char scrap[256];
  return revents && read(STDIN_FILENO, scrap, sizeof scrap) <= 0;
}

int main(int argc, char **argv) {
  static struct pollfd polled[2 + 2 * PAIRS_MAX];
  if (argc != 3 || strlen(argv[1]) >= sizeof target.sun_path) {
    fprintf(stderr, "usage: egress-relay SOCKET PORT\n");
    return 2;
  }
  strcpy(target.sun_path, argv[1]);
  signal(SIGPIPE, SIG_IGN);
  int listener = listen_on((uint16_t)atoi(argv[2]));
  puts("ready");
  fflush(stdout);
  for (;;) {
    size_t known = count;
    polled[0] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    polled[1] = (struct pollfd){.fd = count < PAIRS_MAX ? listener : -1, .events = POLLIN};
    for (size_t i = 0; i < known; i++)
      for (int end = 0; end < 2; end++) polled[2 + 2 * i + (size_t)end] = poll_end(&pairs[i], end);
    if (poll(polled, (nfds_t)(2 + 2 * known), -1) < 0 && errno != EINTR) fail("poll");
    if (stdin_ended(polled[0].revents)) return 0;
    move_all(polled + 2, known);
    if (polled[1].revents & POLLIN) accept_one(listener);
  }
}
