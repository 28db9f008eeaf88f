/* evidence.h: does memory look like the top of a suspended stack? For functions that are known by their name alone. */
#ifndef SW_EVIDENCE_H
#define SW_EVIDENCE_H

#include <stddef.h>
#include <stdint.h>

/* Copy words from any address. The number of words that could be read; 0 also where the system does not let us. */
size_t sw_read_words(uintptr_t address, uintptr_t *words, size_t count);

/* Can a stack have been suspended, or be about to begin, with its stack pointer there? The saved registers are followed
 * by an address in code, to which the switch returns. */
int sw_is_suspended_at(uintptr_t sp);

#endif
