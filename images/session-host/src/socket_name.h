#ifndef SOCKET_NAME_H
#define SOCKET_NAME_H
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DEFAULT_SOCKET "berth"

/* The address of an abstract socket; its length. */
static inline socklen_t socket_address(const char *name, struct sockaddr_un *address) {
  size_t length = strnlen(name, sizeof address->sun_path - 1);
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path + 1, name, length);
  return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length);
}

#endif
