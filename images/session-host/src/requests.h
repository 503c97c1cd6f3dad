/* Doing what the client asks for. */
#ifndef REQUESTS_H
#define REQUESTS_H
#include <stdbool.h>
#include <stdint.h>

#include "frame.h"

/* False: the client does not keep to the protocol. */
bool request_obey(const struct request *request);
/* The client is gone: a command whose text is not complete did not run. */
void requests_abandon(void);
/* The largest channel number that was used. */
uint32_t requests_highest(void);

#endif
