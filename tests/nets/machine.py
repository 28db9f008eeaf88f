"""What all machines have: threads, places on them, a log of the steps, and the comparison after each step.

A machine is made of rules (the other files), each of which keeps its part of the model and adds to what is
expected: `expected_status` for a thread, `compare` for all else, `let_go` for the end.

Promises: a step is printed before it is done, so that a process that dies names it; the end is as the start.
"""

import contextlib
import functools
import gc
import os
import sys

import cpython_bounds
from actors import Actor, Suspended
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import stackwarden

THREADS = 3
KIB, MIB = 1 << 10, 1 << 20
PROTECTION = stackwarden.status()
POINTER = PROTECTION["mechanism"] == "pointer"

# What status() says of the interpreter is the same after all that was begun has ended.
SAME_AT_THE_END = (
    *("leaked_stacks", "dropped_states", "policy", "policy_unknown"),
    *("policy_foreign_threads", "assumed_size", "min_stack", "stack_size", "unprotected"),
    *("switch_callbacks", "crash_reports", "beacons", "interposition"),
)

some = st.integers(0, 11)  # which one, of those that there are
anywhere = st.integers(0, 11)  # a place: a thread, or a coroutine
a_thread = st.integers(0, THREADS - 1)


def say(text):
    """At once, whatever comes next."""
    os.write(sys.stdout.fileno(), f"{text}\n".encode())


@contextlib.contextmanager
def failures_said():
    try:
        yield
    except Exception as error:
        say(f"  failed: {error!r}")
        raise


def step(**values):
    """A rule of a machine that is printed before it is done."""

    def decorate(function):
        @functools.wraps(function)
        def told(self, **drawn):
            say(f"  {function.__name__}({', '.join(f'{k}={v!r}' for k, v in drawn.items())})")
            with failures_said():
                return function(self, **drawn)

        return rule(**values)(told)

    return decorate


def when(name):
    """The step needs one of these, a list of the machine."""
    return precondition(lambda self: getattr(self, name))


def pick(which, of):
    return of[which % len(of)]


def error_of(function, *arguments):
    """The class of what it raises, or None. It is called where that must be, and nothing is kept of it."""
    try:
        function(*arguments)
    except Exception as error:
        return type(error)
    return None


class Thread:
    """The model of a thread."""

    def __init__(self, number):
        self.actor = Actor(f"thread {number}")
        self.levels = []  # its own stack, and those of the calls that it is in
        self.arrive()
        self.native = self.current = self.here
        self.blocks = []  # of on_stack(), the newest last
        self.told = 0  # how often counters were moved to another stack and back
        self.policies = {}  # set for good
        self.pending = None  # callback_rules.py

    def arrive(self):
        """It does things on another stack from now on."""
        stack, bounds = here(self), self.do(free_bounds)
        for same in [known for known, _ in self.levels if known.handle == stack.handle]:
            stack, bounds = same, None  # a call that stayed on it; budgets may hold there already
        self.levels.append((stack, bounds))

    @property
    def here(self):
        """The stack under what is done on this thread."""
        return self.levels[-1][0]

    @property
    def free(self):
        return free_of(*self.levels[-1])

    @property
    def is_honest(self):
        return self.current is self.here

    @property
    def thread(self):
        return self

    def do(self, function, *arguments):
        return self.actor.do(function, *arguments)

    def __repr__(self):
        return self.actor.name


class Fiber:
    """The model of a coroutine; what is done there is done on its stack."""

    def __init__(self, thread, isolation):
        self.thread = thread
        self.suspended = Suspended(thread.actor, isolation)
        self.here = here(self)
        assert self.here.base == self.suspended.base
        self._bounds = self.do(free_bounds)

    @property
    def free(self):
        return free_of(self.here, self._bounds)

    def do(self, function, *arguments):
        return self.suspended.do(function, *arguments)

    def __repr__(self):
        return f"coroutine on {self.thread}"


def here(place):
    stack = place.do(stackwarden.current_stack)
    return Place(stack.handle, stack.base, stack.top)


def free_of(stack, bounds):
    """What CPython checks without budgets: the address below which it raises, or the calls that remain; None: that
    is not known."""
    return stack.base + 2 * PROTECTION["margin"] if POINTER else bounds


class Place:
    """A stack by its handle, with its bounds."""

    def __init__(self, handle, base, top):
        self.handle, self.base, self.top = handle, base, top

    def overlaps(self, base, top):
        return self.base < top and base < self.top

    def holds(self, address):
        return self.base <= address < self.top

    def __eq__(self, other):
        return (self.base, self.top) == (other.base, other.top)

    __hash__ = None

    def __repr__(self):
        return f"[{self.base:#x}, {self.top:#x})"


def read_bounds():
    """What this CPython checks now: the address below which it raises, or how many calls remain."""
    bounds = cpython_bounds.read()
    return bounds["soft"] if "soft" in bounds else bounds["remaining"]


def synced_bounds():
    stackwarden.sync_stack()
    return read_bounds()


def free_bounds():
    """None where a policy has CPython check nothing now."""
    stackwarden.sync_stack()
    bounds = read_bounds()
    return bounds if stackwarden.current_stack().policy in ("exact", "estimate") else None


class Machine(RuleBasedStateMachine):
    may_lie = True  # may a thread be told to be on another stack than it is?

    def __init__(self):
        super().__init__()
        say("example")
        gc.collect()
        self.start = stackwarden.status()
        self.threads = [Thread(number) for number in range(THREADS)]
        self.fibers = []

    # ---- places ----

    def place(self, which):
        """A thread, or a coroutine whose thread told no lie."""
        return pick(
            which, [*self.threads, *(fiber for fiber in self.fibers if fiber.thread.is_honest)]
        )

    @contextlib.contextmanager
    def on(self, place):
        """What is done there, and what the model says of it: a coroutine's thread goes there and comes back."""
        if isinstance(place, Fiber):
            self.enter(place.thread, place.here)
        yield place.do
        if isinstance(place, Fiber):
            self.enter(place.thread, place.thread.here)

    def synced(self, place):
        """Something was done there that syncs: what was told of the thread is forgotten."""
        self.enter(place.thread, place.here)

    def enter(self, thread, stack):
        """A stack becomes the current one of a thread. Rules that hear of switches extend this."""
        thread.current = stack

    def honest_places(self):
        return [place for place in [*self.threads, *self.fibers] if place.thread.is_honest]

    # ---- what must hold ----

    def expected_status(self, thread):
        return {}

    def compare(self):
        """Extended by rules, for what is not of a thread."""

    @invariant()
    def all_is_as_the_model_says(self):
        with failures_said():
            self._compare_all()

    def _compare_all(self):
        for thread in self.threads:
            expected = self.expected_status(thread)
            status, current = thread.do(look)
            wrong = {
                key: (status[key], value) for key, value in expected.items() if status[key] != value
            }
            assert not wrong, (thread, wrong)
            assert Place(*current) == thread.current, (thread, hex(current[1]), thread.current)
        self.compare()

    def let_go(self):
        """Extended by rules: end all that has begun."""
        while self.fibers:
            self.fibers.pop().suspended.end()

    def teardown(self):
        say("  the end")
        with failures_said():
            try:
                self.let_go()
            finally:
                for thread in self.threads:
                    with contextlib.suppress(Exception):
                        thread.actor.end()
            self._compare_with_the_start()

    def _compare_with_the_start(self):
        gc.collect()
        end = stackwarden.status()
        before, after = (
            {key: status[key] for key in SAME_AT_THE_END} for status in (self.start, end)
        )
        assert after == before
        left = [stack for stack in stackwarden.stacks() if stack.bounds_from == "told"]
        assert all(stack.system is not None for stack in left), left  # those of pools stay


def look():
    current = stackwarden.current_stack()
    return stackwarden.status(), (current.handle, current.base, current.top)
