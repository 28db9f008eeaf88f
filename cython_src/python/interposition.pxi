"""Turning interposition on and off, for _interpose.py, which says what is wrong. What it does is in
core_hooks.pxd."""


def _load_interposition(const char *library, /):
    """None, or why it cannot be had."""
    cdef const char *reason = NULL
    if sw_interpose_find(SW_INTERPOSE_ATTACH) == NULL:
        reason = sw_interpose_load(library)
    if reason == NULL and not connect_interposition():
        reason = b"the library of another version was preloaded"
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
