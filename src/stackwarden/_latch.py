"""Waiting for something that happens once, without a lock that others could find taken.

Promises: every change is one step that no other thread, no signal handler and no fork can divide. A lock would be
found held: by a handler that interrupted its holder, or by a child process after a fork. threading.Event has one.
"""

import threading
from _thread import LockType


class Latch:
    """Closed until ``open()``."""

    def __init__(self) -> None:
        self.is_open = False
        self._waiting: list[LockType] = []  # each held until its waiter may go on

    def open(self) -> None:
        self.is_open = True
        while self._waiting:
            try:
                self._waiting.pop().release()
            except IndexError:  # somebody else took the last one
                return

    def wait(self, seconds: float = -1) -> bool:
        """Until it is open, or so many seconds. Is it open?"""
        mine = threading.Lock()
        mine.acquire()
        self._waiting.append(mine)
        if not self.is_open:  # looked at after the lock was put down: open() sees one or the other
            mine.acquire(timeout=seconds)
        return self.is_open
