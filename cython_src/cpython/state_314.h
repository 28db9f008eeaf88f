/* state_314.h: the part of state.h for 3.14; the code is in state_tstate.h, for 3.15 too. Follows state_313.h.
 *
 * The JIT frees executors that it finds in no thread state: a saved state holds a strong reference to the one that its
 * innermost frame runs in (without it each suspended stack crashed with PYTHON_JIT=1: tests/isolation/test_jit.py).
 * asyncio's running loop and task are in the thread state, behind the bounds of the stack. */

#include "protection.h"

#define SWPY_BOTTOM_FRAME(ts) NULL
#define SWPY_ASYNCIO_WORD 3 /* words from c_stack_top to asyncio_running_loop */

#include "state_tstate.h"
