"""What is true of the whole process, and decides which way the hook takes."""

from records.guard cimport *
from records.protection cimport *


cdef inline void update_straight() noexcept nogil:
    """After any change of what sw_process.straight stands for."""
    sw_process.straight = sw_process.running and sw_process.callbacks == 0 and not sw_process.unchecked \
        and swpy_is_straight()
