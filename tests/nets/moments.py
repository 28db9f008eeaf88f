"""In a child: `moments.py WHAT SEED SECONDS`: at random moments of each operation a signal handler in Python runs.

WHAT it does: "raise"; "operate", another operation from its beginning to its end; "fork", and the child does one.
Each operation has a process of its own, and so many seconds in it. Afterwards all must be as before, and the
operation must work.
"""

import gc
import os
import random
import signal
import sys
import threading
import time
import warnings

import operations

import stackwarden
from stackwarden.errors import OtherThreadError

LATEST = 120e-6  # seconds from an operation's beginning to the signal, at most; most take less
SECONDS_FOR_ONE = 30  # then it hangs
NOT_IN_A_HANDLER = (
    "thread",
    "crash reports",
    "status",
    "reset",
)  # CPython's own locks; slow; of the native stack
NOT_RAISED_IN = (
    "thread",
    "pool",
)  # threading and concurrent.futures are left with a lock held, or half done
HELD = ("callback", "policy", "register", "notify", "on_stack", "coroutine")

warnings.simplefilter("ignore")
threading.stack_size(256 << 10)
sys.unraisablehook = lambda _: None


class Raised(BaseException):
    pass


class Handler:
    """What runs at random moments."""

    def __init__(self, what, chance):
        self._act = {"raise": self._raise, "operate": self._operate, "fork": self._fork}[what]
        self._chance = chance
        self._others = [n for n in operations.OPERATIONS if n not in NOT_IN_A_HANDLER]
        self.calls = 0
        signal.signal(signal.SIGALRM, self)

    def arm(self):
        signal.setitimer(signal.ITIMER_REAL, self._chance.uniform(1e-6, LATEST))

    def disarm(self):
        """CPython 3.12 may not notice a signal that comes while the GIL is taken, before it is taken again."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        time.sleep(0)

    def __call__(self, *_):
        self.calls += 1
        self._act()

    def _raise(self):
        raise Raised

    def _operate(self):
        once(operations.OPERATIONS[self._chance.choice(self._others)])

    def _operate_in_a_child(self):
        """Forked in a coroutine's own thread state, where 3.12 alone runs handlers, the thread has lost the one
        that frames are resumed in (docs/isolation.md)."""
        name = self._chance.choice(self._others)
        refused = (
            stackwarden.current_stack().isolation == "thread-state" and ", frames, its" in name
        )
        try:
            once(operations.OPERATIONS[name])
            assert not refused, name
        except OtherThreadError:
            if not refused:
                raise

    def _fork(self):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(SECONDS_FOR_ONE // 2)
                self._operate_in_a_child()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0, "the child of a fork failed or hung"


def once(operation):
    made = operation.begin()
    operation.undo(made, operation.act(made))


def interrupted(handler, operation):
    """An exception between the end of a call and the use of its result loses that, as in any program."""
    made = operation.begin()
    try:
        handler.arm()
        operation.act(made)
    except Raised:
        return
    finally:
        while True:
            try:
                handler.disarm()
                break
            except Raised:
                continue


def repeat(handler, operation, what, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what == "raise":
            interrupted(handler, operation)
        else:
            handler.arm()
            once(operation)
            handler.disarm()


def check(what, name, chance, seconds):
    operation = operations.OPERATIONS[name]
    once(operation)
    gc.collect()
    before = operations.state()
    handler = Handler(what, chance)
    repeat(handler, operation, what, seconds)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(SECONDS_FOR_ONE)
    once(operation)
    gc.collect()
    after = operations.state()
    if what == "raise" and name.startswith(HELD):
        return handler.calls
    before.pop("stacks"), after.pop("stacks")  # a transient record and pooled stacks stay
    for key in ("registered", "leaked_stacks"):
        before["status"].pop(key), after["status"].pop(key)
    assert before == after, (before, after)
    return handler.calls


def in_a_process(what, name, seed, seconds):
    """Handlers that ran, or -1."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        try:
            os.write(
                writer, b"%d" % check(what, name, random.Random(f"{seed} {what} {name}"), seconds)
            )
            os._exit(0)
        except BaseException as error:
            print(f"  {error!r}", flush=True)
        finally:
            os._exit(1)
    os.close(writer)
    ends = wait(pid)
    calls = os.read(reader, 99)
    os.close(reader)
    if ends != 0:
        print(f"{name}, {what}, seed {seed}: ends with {ends}", flush=True)
    return int(calls) if ends == 0 else -1


def wait(pid):
    end = time.monotonic() + SECONDS_FOR_ONE
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hanging"


def main(what, seed, seconds):
    calls = [
        in_a_process(what, name, seed, float(seconds))
        for name in operations.OPERATIONS
        if what != "raise" or name not in NOT_RAISED_IN
    ]
    print(f"{sum(calls)} handlers, {calls.count(-1)} wrong")


main(*sys.argv[1:])
