"""Turning interposition on and off, for _interpose.py, which says what is wrong. What it does is in
core_hooks.pxd."""


_warn_of_interleaving = None


cdef int _report_interleaving(void *unused) except -1:
    """A pending call of CPython's: attached, between two instructions of the main thread."""
    _warn_of_interleaving(<uintptr_t>sw_interposition.interleaver, sw_interposition.frames)
    return 0


def _load_interposition(const char *library, warn, /):
    """None, or why it cannot be had. `warn`: called with the address of code that interleaves Python frames, and
    whether isolation is on."""
    global _warn_of_interleaving
    cdef const char *reason = NULL
    if sw_interpose_find(SW_INTERPOSE_ATTACH) == NULL:
        reason = sw_interpose_load(library)
    if reason == NULL and not connect_interposition():
        reason = b"the library of another version was preloaded"
    _warn_of_interleaving = warn
    sw_interposition.warn = <int (*)(void *) noexcept nogil><void *>_report_interleaving
    return reason.decode() if reason != NULL else None


def _begin_interposition(bint frames, /):
    """Count one more, and turn it on; with `frames` or without, as all that were begun: how many are otherwise."""
    if sw_interposition.begun and frames != (sw_interposition.frames != 0):
        return sw_interposition.begun
    this_thread()  # now, not in the handler of a signal
    sw_interposition.frames = frames
    sw_interposition.begun += 1
    turn_interposition(SW_INTERPOSE_ON)
    return 0


def _end_interposition():
    """Count one less; the last one turns off what was not preloaded, but not while stacks are suspended: how
    many."""
    cdef long suspended = suspended_by_interposition()
    if sw_interposition.begun == 1 and suspended:
        return suspended
    sw_interposition.begun -= 1
    if not sw_interposition.begun:
        sw_interposition.frames = False
        if not sw_interposition.preloaded:
            turn_interposition(SW_INTERPOSE_OFF)
    return 0
