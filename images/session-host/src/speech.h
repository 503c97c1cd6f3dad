/* All that the host has to say to a client, as the state of its channels asks for it. */
#ifndef SPEECH_H
#define SPEECH_H
#include <stdint.h>

#include "frame.h"

/* Greets a new client first. `highest`: the largest channel number that was given. */
void speech_begin(uint64_t boot, uint32_t highest);
/* Says what there is to say and room for. */
void speech_go_on(void);
void say_error(uint32_t channel, enum error_code code, const char *text);

#endif
