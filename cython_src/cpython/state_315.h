/* state_315.h: the part of state.h for 3.15. Follows state_314.h; the frames of a stack begin at the thread state's
 * base_frame, and c_stack_init_base and _top are before asyncio's fields. */

#include "protection.h"

#define SWPY_BOTTOM_FRAME(ts) ((ts)->base_frame)
#define SWPY_ASYNCIO_WORD 5

#include "state_tstate.h"
