"""The C functions of stackwarden.h under Python names; a status is an int, as in the header.

`attached`, `detached` and `thread` say how a call is made; `thread` makes it in a fresh thread that
has no thread state. Import stackwarden before this.
"""

from typing import NamedTuple

import capi_probe

DONE, UNKNOWN_STACK = 0, 1
UNTOUCHED = 0x5A5A  # the handle of a stack that was not registered
NOT_INSTALLED, NOT_RUNNING, NO_MEMORY, FULL, BAD_RANGE, UNALIGNED = -1, -2, -3, -4, -5, -6
UNMAPPED, TOO_SMALL, OVERLAP, IN_USE, STALE_HANDLE, NOT_REGISTERED = -7, -8, -9, -10, -11, -12
DETACHED, ISOLATION_REQUIRED, OTHER_THREAD, NO_ISOLATION = -13, -14, -15, -16
BAD_POLICY, INTERRUPTED = -18, -19
TRIM_GUARD = 1


class Seen(NamedTuple):
    """A stackwarden_stack."""

    status: int
    handle: int
    base: int
    size: int
    reserved: bytes


class Calls:
    """The functions, called in one way."""

    def __init__(self, how):
        self._how = how

    def notify(self, base, size):
        return self._status("notify", base, size)

    def switch_to(self, handle):
        return self._status("switch_to", handle)

    def reset(self):
        return self._status("reset")

    def sync(self):
        return self._status("sync")

    def register(self, base, size, name=None, system=None, flags=0):
        """(status, handle)"""
        return capi_probe.call(self._how, "register", base, size, name, system, flags)[:2]

    def set_policy(self, which, policy, thread_only=0):
        return self._status("set_policy", which, policy, None, None, 0, thread_only)

    def enter_policy(self, which, policy, thread_only=0):
        """What names the request: its handle and base"""
        return self._seen("enter_policy", which, policy, None, None, 0, thread_only)

    def leave_policy(self, request):
        return self._status("leave_policy", request.base, 0, None, None, 0, request.handle)

    def unregister(self, handle):
        return self._status("unregister", handle)

    def current(self):
        return self._seen("current")

    def find(self, address):
        return self._seen("find", address)

    def enter(self, base, size):
        """What names the request: its handle and base"""
        return self._seen("enter", base, size)

    def leave(self, request):
        return self._status("leave", request.base, 0, None, None, 0, request.handle)

    def _status(self, what, *arguments):
        return capi_probe.call(self._how, what, *arguments)[0]

    def _seen(self, what, *arguments):
        status, _, stack, reserved = capi_probe.call(self._how, what, *arguments)
        return Seen(status, *stack, reserved)


attached = Calls("attached")
detached = Calls("detached")
raising = Calls("raising")
thread = Calls("thread")
ending_thread = Calls("destructor")
