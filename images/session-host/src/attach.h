#ifndef ATTACH_H
#define ATTACH_H

/* Joins stdin and stdout to the host until either side ends. */
int attach(const char *socket);

#endif
