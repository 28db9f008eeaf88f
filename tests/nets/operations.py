"""Every operation of the package, for programs that interrupt each at every moment that there is.

An operation is three functions: `begin()` makes what it needs, `act(made)` is what is tried, and `undo(made,
result)` takes both back. When `act` was refused, all is as after `begin`.
"""

import contextlib
import ctypes
import mmap
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import NamedTuple

import stackwarden
from stackwarden import adapters

MIB = 1 << 20
LARGE = 32 * MIB  # a stack that is left behind is seen in the size of the process


class Operation(NamedTuple):
    begin: object
    act: object
    undo: object


def nothing(*_):
    return None


def memory(size=MIB):
    """The address of fresh memory, for good."""
    area = mmap.mmap(-1, size)
    _areas.append(area)
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


_areas = []
OPERATIONS = {}


def operation(name, begin=nothing, act=nothing, undo=nothing):
    OPERATIONS[name] = Operation(begin, act, undo)


class Work:
    """A function whose end is noticed: what is leaked keeps it alive."""

    alive = weakref.WeakSet()

    def __init__(self):
        self.alive.add(self)

    def __call__(self, *_):
        return stackwarden.stack_used()


# ---- records ----


def registered(**options):
    return stackwarden.register_stack(memory(), MIB, **options)


def unregister(made, result):
    result.unregister()


ISOLATIONS = [
    kind for kind in ("none", "frames", "thread-state") if kind in stackwarden.status()["isolation"]
]

for kind in ISOLATIONS:
    operation(
        f"register, {kind}",
        memory,
        lambda base, kind=kind: stackwarden.register_stack(
            base, MIB, name="n" * 600, system="s", isolation=kind
        ),
        unregister,
    )
    operation(
        f"unregister, {kind}",
        lambda kind=kind: registered(isolation=kind),
        lambda stack: stack.unregister(),
    )
operation(
    "register with a budget and a policy",
    memory,
    lambda base: stackwarden.register_stack(base, MIB, policy="estimate", budget="256K"),
    unregister,
)
operation(
    "notify",
    lambda: (memory(), stackwarden.sync_stack()),
    lambda made: stackwarden.notify_stack_switch(made[0], MIB),
    lambda made, _: stackwarden.notify_stack_switch(made[1]),
)
operation(
    "notify, registered",
    lambda: (registered(name="named"), stackwarden.sync_stack()),
    lambda made: stackwarden.notify_stack_switch(made[0].base, made[0].size),
    lambda made, _: (stackwarden.notify_stack_switch(made[1]), made[0].unregister()),
)
operation(
    "notify, by its Stack",
    lambda: (registered(name="named"), stackwarden.sync_stack()),
    lambda made: stackwarden.notify_stack_switch(made[0]),
    lambda made, _: (stackwarden.notify_stack_switch(made[1]), made[0].unregister()),
)


def told():
    stackwarden.notify_stack_switch(memory(), MIB)


operation("reset", told, lambda _: stackwarden.reset_stack())
for question in ("stacks", "status", "current_stack", "stack_used", "stack_remaining", "drain"):
    operation(question, nothing, lambda _, question=question: getattr(stackwarden, question)())
operation(
    "find, by address",
    lambda: registered(name="named"),
    lambda stack: stackwarden.find_stack(stack.base),
    lambda stack, _: stack.unregister(),
)
operation(
    "what is said of a stack",
    lambda: registered(name="named"),
    lambda stack: (
        repr(stack),
        stack.policy,
        stack.bounds_from,
        stack.high_water,
        stack.budget,
        stack.frame,
    ),
    lambda stack, _: stack.unregister(),
)
operation("paint", registered, lambda stack: stack.paint(), lambda stack, _: stack.unregister())

# ---- requests ----


def exit_of(made, result):
    result.__exit__(None, None, None)


def entered(block):
    block.__enter__()
    return block


operation("budget", nothing, lambda _: entered(stackwarden.stack_budget("128K")), exit_of)
operation(
    "budget, its end",
    lambda: entered(stackwarden.stack_budget("128K")),
    lambda budget: budget.__exit__(None, None, None),
)
operation(
    "policy",
    nothing,
    lambda _: stackwarden.stack_policy("estimate", unknown="disabled", foreign_threads="estimate"),
    exit_of,
)
operation(
    "policy of the thread",
    nothing,
    lambda _: stackwarden.stack_policy("estimate", scope="thread"),
    exit_of,
)
operation(
    "on_stack",
    lambda: (registered(), []),
    lambda made: entered(stackwarden.on_stack(made[0])),
    lambda made, block: (block.__exit__(None, None, None), made[0].unregister()),
)
operation(
    "limit",
    Work,
    lambda work: stackwarden.deep_recursion(stack_size=LARGE, limit=sys.getrecursionlimit() + 500)(
        work
    )(),
)

# ---- callbacks ----

operation(
    "callback",
    Work,
    lambda work: stackwarden.register_switch_callback(work),
    lambda work, _: stackwarden.unregister_switch_callback(work),
)


def with_callback():
    work = Work()
    stackwarden.register_switch_callback(work)
    return work


operation("callback, its end", with_callback, stackwarden.unregister_switch_callback)

# ---- other stacks ----

operation("call_on_stack", Work, lambda work: stackwarden.call_on_stack(work, stack_size=LARGE))
operation("maybe_grow", Work, stackwarden.maybe_grow)
operation("growing", Work, lambda work: stackwarden.growing(room="1G", stack_size="1G")(work)())
operation("sync_on_call", Work, lambda work: stackwarden.sync_on_call(work)())


def add_coroutines(system):
    for kind in ISOLATIONS[1:]:

        def make(work, kind=kind):
            return system.Coroutine(work, stack_size=LARGE, isolation=kind)

        def begun(kind=kind):
            made = system.Coroutine(system.suspend, stack_size=LARGE, isolation=kind)
            made.resume()
            return made

        name = f"{system.__name__.rpartition('.')[2]}, {kind}"
        operation(f"coroutine of {name}", Work, make, lambda _, made: made.close())
        operation(
            f"coroutine of {name}, its run",
            lambda make=make: make(Work()),
            lambda made: made.done or made.resume(),  # Work may fail, and then it is done
        )
        operation(
            f"coroutine of {name}, its resume", begun, lambda made: made.done or made.resume()
        )
        operation(f"coroutine of {name}, its close", begun, lambda made: made.close())


for module in ("ucontext", "asm"):
    with contextlib.suppress(ImportError):
        add_coroutines(getattr(__import__(f"stackwarden.adapters.{module}").adapters, module))

# ---- threads and pools ----


def submit(work):
    executor = stackwarden.wrap_thread_pool(lambda task: task(), name="at once")
    try:
        return executor.submit(work).result()
    finally:
        executor.shutdown()


operation("pool", Work, submit)


def in_a_thread(work):
    """What the first call in a new thread answers."""
    answers = []

    def run():
        try:
            answers.append(work())
        except BaseException as error:
            answers.append(error.with_traceback(None))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if answers and isinstance(answers[0], BaseException):
        raise answers.pop()
    return answers


operation("thread", lambda: lambda: stackwarden.current_stack().base, in_a_thread)
operation(
    "crash reports",
    nothing,
    lambda _: stackwarden.enable_crash_reports(),
    lambda *_: stackwarden.disable_crash_reports(),
)


# ---- what there is ----


def wait_for_threads_that_ended():
    """join() may return a little before the thread is gone, its stacks with it."""
    tasks, deadline = Path("/proc/self/task"), time.monotonic() + 5
    while len(list(tasks.iterdir())) > threading.active_count() and time.monotonic() < deadline:
        time.sleep(0.0005)


def state():
    """All that a refused call must leave as it was."""
    wait_for_threads_that_ended()
    status = stackwarden.status()
    for counts in ("coalesced_switches", "drains", "superseded_stacks"):
        status.pop(counts, None)
    return {
        "status": status,
        "stacks": sorted((s.handle, s.base, s.size, s.name or "") for s in stackwarden.stacks()),
        "current": stackwarden.current_stack().handle,
        "limit": sys.getrecursionlimit(),
        "adapters": adapters.installed(),
        "work": sum(
            1 for _ in Work.alive
        ),  # its length counts what a handler kept it from forgetting
    }


def size_of_process():
    return int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
