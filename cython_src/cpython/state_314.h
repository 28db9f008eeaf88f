/* state_314.h: what 3.14 has, and 3.15 shares but for the names at the end of state_315.h. Follows state_313.h.
 *
 * The JIT frees executors that it finds in no thread state: a saved state holds a strong reference to the one that
 * its innermost frame runs in (with PYTHON_JIT=1 each suspended stack crashed without). asyncio's running loop and
 * task stand in the thread state, behind the bounds of the stack; see state_loop.h. */

#include "protection.h"

#define SWPY_BOTTOM_FRAME(ts) NULL
#define SWPY_ASYNCIO_WORD 3 /* words from c_stack_top to asyncio_running_loop */

#include "state_tstate.h"
