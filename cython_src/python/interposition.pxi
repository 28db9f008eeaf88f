"""Turning interposition on and off, for _interpose.py. What it does is in core_hooks.pxd."""


def _interposition():
    if not sw_interposition.begun and not sw_interposition.preloaded:
        return "off"
    return "frames" if sw_interposition.frames else "on"


cdef _load_interposition(bytes library):
    cdef const char *reason = NULL
    if sw_interpose_find(SW_INTERPOSE_ATTACH) == NULL:
        reason = sw_interpose_load(library)
    if reason != NULL:
        raise errors.InterpositionError(f"interposition: {reason.decode()}")
    if not connect_interposition():
        raise errors.InterpositionError("interposition: the library of another version was preloaded")


def _begin_interposition(path, frames):
    """Count one more, and turn it on; with `frames` or without, as all that were begun."""
    if frames and not sw_process.frames:
        raise errors.IsolationUnavailableError(f"isolation 'frames' cannot be had here: {_isolation_reason()}")
    if sw_interposition.begun and bool(frames) != bool(sw_interposition.frames):
        raise errors.InterpositionError(
            f"{sw_interposition.begun} interpositions are on with another isolation: status {_interposition()!r}")
    _load_interposition(os.fsencode(path))
    this_thread()  # now, not in the handler of a signal
    sw_interposition.frames = frames
    sw_interposition.begun += 1
    turn_interposition(SW_INTERPOSE_ON)


def _end_interposition():
    """Count one less; the last one turns off what was not preloaded, but not while stacks are suspended."""
    suspended = suspended_by_interposition()
    if sw_interposition.begun == 1 and suspended:
        raise errors.InterpositionError(
            f"{suspended} stacks hold Python frames that only interposition can put back: let them end first")
    sw_interposition.begun -= 1
    if not sw_interposition.begun:
        sw_interposition.frames = False
        if not sw_interposition.preloaded:
            turn_interposition(SW_INTERPOSE_OFF)
