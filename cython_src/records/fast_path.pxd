"""What is true of the whole process, and decides which way the hook takes."""

from records.guard cimport *
from records.protection cimport *


cdef inline void update_fast_path() noexcept nogil:
    """After any change of what sw_process.fast_path stands for."""
    sw_process.fast_path = sw_process.running and sw_process.callbacks == 0 and not sw_process.unchecked \
        and swpy_has_fast_path()
