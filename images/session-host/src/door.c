#include "door.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "child.h"
#include "loop.h"

enum { LAY_MAX = 16, PATIENCE_MS = 1000 };

/* What goes with the descriptors. */
struct message {
  uint32_t number;
  uint8_t count;
  uint8_t slots[LAY_MAX];
};

struct packet {
  struct message message;
  struct iovec part;
  union {
    struct cmsghdr head;
    char space[CMSG_SPACE(LAY_MAX * sizeof(int))];
  } control;
};

static struct msghdr packet_header(struct packet *packet, size_t control) {
  packet->part = (struct iovec){&packet->message, sizeof packet->message};
  return (struct msghdr){.msg_iov = &packet->part, .msg_iovlen = 1, .msg_control = &packet->control, .msg_controllen = control};
}

/* ---- the door itself ---- */

static void place(const struct message *message, const int *fds, size_t count) {
  for (size_t i = 0; i < count; i++) {
    int slot = i < message->count ? message->slots[i] : 0;
    if (slot >= SLOT_REPORT && slot <= SLOT_LAST) dup3(fds[i], slot, O_CLOEXEC);
    close(fds[i]);
  }
}

int door_main(void) {
  prctl(PR_SET_DUMPABLE, 1);
  for (int slot = 0; slot <= SLOT_LAST; slot++)
    if (slot > 2) dup2(2, slot); /* received descriptors never land in a slot */
  for (;;) {
    struct packet packet = {0};
    struct msghdr header = packet_header(&packet, sizeof packet.control);
    ssize_t count = recvmsg(0, &header, MSG_CMSG_CLOEXEC);
    if (count < 0 && errno == EINTR) continue;
    if (count != (ssize_t)sizeof packet.message) return 0;
    struct cmsghdr *control = CMSG_FIRSTHDR(&header);
    if (control && control->cmsg_type == SCM_RIGHTS) {
      int fds[LAY_MAX];
      size_t bytes = control->cmsg_len - CMSG_LEN(0);
      memcpy(fds, CMSG_DATA(control), bytes);
      place(&packet.message, fds, bytes / sizeof *fds);
    }
    if (send(0, &packet.message.number, sizeof packet.message.number, MSG_NOSIGNAL) < 0) return 0;
  }
}

/* ---- the host's side ---- */

static void on_answer(struct watch *watch, uint32_t events);
static void on_silence(struct timer *timer);

static struct watch answers = {.fd = -1, .ready = on_answer};
static struct timer patience = {.fire = on_silence};
static pid_t process = -1;
static uint32_t number;
static void (*when_laid)(void);
static void (*when_lost)(void);

static bool start(void) {
  int pair[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return false;
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return close(null), false;
  char *const arguments[] = {"session-host", "door", NULL}, *const variables[] = {NULL};
  struct child child = {"/proc/self/exe", arguments, variables, "/", {pair[1], null, null}, false, false};
  process = child_start(&child);
  close(pair[1]);
  close(null);
  if (process < 0) close(pair[0]);
  if (process < 0) return false;
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  answers.fd = pair[0];
  watch_set(&answers, EPOLLIN);
  return true;
}

void door_open(void (*laid)(void), void (*lost)(void)) {
  when_laid = laid;
  when_lost = lost;
  if (!start()) timer_set(&patience, PATIENCE_MS);
}

pid_t door_pid(void) { return process; }

void door_lay(const struct lay *list, size_t count) {
  struct packet packet = {.message = {.number = ++number, .count = (uint8_t)count}};
  struct msghdr header = packet_header(&packet, CMSG_SPACE(count * sizeof(int)));
  struct cmsghdr *control = CMSG_FIRSTHDR(&header);
  *control = (struct cmsghdr){.cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  for (size_t i = 0; i < count; i++) {
    packet.message.slots[i] = (uint8_t)list[i].slot;
    memcpy(CMSG_DATA(control) + i * sizeof(int), &list[i].fd, sizeof(int));
  }
  timer_set(&patience, PATIENCE_MS);
  sendmsg(answers.fd, &header, MSG_NOSIGNAL); /* a door that is gone is noticed when it is reaped */
}

static void on_answer(struct watch *watch, uint32_t events) {
  (void)events;
  uint32_t answer = 0;
  ssize_t count = recv(watch->fd, &answer, sizeof answer, 0);
  if (count < 0 && errno == EAGAIN) return;
  if (count <= 0) {
    watch_set(watch, 0); /* it is dying */
    return;
  }
  if (answer != number) return;
  timer_stop(&patience);
  when_laid();
}

static void restart(void) {
  if (start()) when_lost();
  else timer_set(&patience, PATIENCE_MS);
}

/* Stopped by somebody, perhaps: a new one does not wait. */
static void on_silence(struct timer *timer) {
  (void)timer;
  if (process > 0) kill(process, SIGKILL);
  else restart();
}

bool door_reaped(pid_t reaped) {
  if (reaped != process) return false;
  process = -1;
  watch_close(&answers);
  timer_stop(&patience);
  restart();
  return true;
}
