"""A time limit for checks that may hang, whatever they hold meanwhile.

Promises: the check that is not over in time is named on standard error, and the process gets SIGABRT, of which
faulthandler makes a traceback of all threads. Another process sees to it: one that hangs may have kept the GIL.

Command line: ``time_limit.py PROCESS SECONDS``; each check's name, as it begins, is a line of standard input. This
file is run by its path, and uses the standard library alone.
"""

import os
import queue
import signal
import subprocess
import sys
import threading

SECONDS = 100.0
"""How long one check may take. Each needs a few seconds on an idle machine."""


class TimeLimit:
    """``with TimeLimit(seconds) as limit: limit.begin("first check") ...``; None: no limit.

    Needs a ``sys.executable`` that is a Python: an embedded interpreter may have none.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._watcher: subprocess.Popen[str] | None = None

    def __enter__(self) -> "TimeLimit":
        if self._seconds is not None:
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(self._seconds)],
                stdin=subprocess.PIPE,
                text=True,
            )
        return self

    def begin(self, check: str) -> None:
        """The check before is over, and this one begins."""
        if self._watcher is not None and self._watcher.stdin is not None:
            print(check, file=self._watcher.stdin, flush=True)

    def __exit__(self, *exception: object) -> None:
        if self._watcher is not None:
            self._watcher.communicate()


def _watch(process: int, seconds: float) -> None:
    begun: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            begun.put(line.rstrip())
        begun.put("")

    threading.Thread(target=read, daemon=True).start()
    check = begun.get()
    while check:
        try:
            check = begun.get(timeout=seconds)
        except queue.Empty:
            print(
                f"stackwarden.testing: {check}: not over after {seconds:g} seconds. Does something wait without "
                "giving its operating-system thread to others, or with the GIL?",
                file=sys.stderr, flush=True,
            )  # fmt: skip
            os.kill(process, signal.SIGABRT)
            return


if __name__ == "__main__":
    _watch(int(sys.argv[1]), float(sys.argv[2]))
