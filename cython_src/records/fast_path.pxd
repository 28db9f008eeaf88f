"""The condition of the hook's fast path: attached threads, no callbacks, bounds that are three plain stores.

Promises: sw_process.fast_path is up to date after every change of what it stands for.
"""

from records.guard cimport *
from records.protection cimport *


cdef inline void update_fast_path() noexcept nogil:
    """Requires: called after each change of one of these."""
    sw_process.fast_path = sw_process.running and sw_process.callbacks == 0 and not sw_process.unchecked \
        and swpy_has_fast_path()
