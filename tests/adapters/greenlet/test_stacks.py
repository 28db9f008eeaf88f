"""Greenlets on stacks of a runtime in C: the conformance kit, and a registry that is full of other stacks."""

import textwrap

import pytest

from availability import unavailable

try:
    import greenlet  # noqa: F401
except ImportError as error:
    unavailable("greenlet", str(error))

BEGIN = """
import sys
import fibers
import stackwarden
from greenlet import getcurrent, greenlet
from stackwarden import adapters

adapters.install("greenlet")

def stack_below(size):
    here, others = stackwarden.current_stack().base, []
    while not others or others[-1].base > here:
        others.append(fibers.Stack(size))
    return others[-1]

def begin(function, stack):
    \"\"\"A greenlet that began on a stack, and calls a function when it is switched to again.\"\"\"
    def body():
        getcurrent().parent.switch()
        return function()

    begun = greenlet(body)
    fibers.enter(stack, begun.switch)
    return begun
"""


@pytest.fixture
def run(fibers, child):
    def lines(program, **options):
        return child(BEGIN + textwrap.dedent(program), **options).stdout.splitlines()

    return lines


def test_the_kit_finds_nothing_wrong_below_the_stack_that_resumes(run):
    checks = run("""
        from stackwarden.testing import check_adapter

        def run(function, size):
            stack = stack_below(size)
            return begin(function, stack).switch()

        print(*check_adapter(run, placements=["below"]), sep="\\n")
    """)
    assert "threads, 262144 bytes" in checks
    assert "below, 1048576 bytes: add, containers, sorted" in checks


def test_the_native_bounds_are_back_when_a_greenlet_ends_or_is_killed(run):
    assert run("""
        def ends():
            return stackwarden.current_stack().base == stack.base

        def waits():
            try:
                main.switch()
            finally:
                seen.append(stackwarden.current_stack().base == stack.base)

        native, main, seen = stackwarden.current_stack().base, getcurrent(), []
        stack = stack_below(1 << 18)
        print(begin(ends, stack).switch(), stackwarden.current_stack().base == native)
        waiting = begin(waits, stack)
        waiting.switch()
        print(stackwarden.current_stack().base == native)
        del waiting
        print(seen == [True], stackwarden.current_stack().base == native)
    """) == ["True True", "True", "True True"]  # fmt: skip


def test_switches_go_on_with_a_million_registered_stacks(run):
    assert run("""
        import mmap, ctypes
        from stackwarden.adapters.ucontext import Coroutine, suspend

        COUNT, SIZE = 1_000_000, 128 * 1024
        NORESERVE = 0x4000
        memory = mmap.mmap(-1, COUNT * SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NORESERVE)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for i in range(COUNT):
            stackwarden.register_stack(base + i * SIZE, SIZE)
        print(stackwarden.status()["registered"] >= COUNT)

        def loop():
            while True:
                main.switch(stackwarden.sync_stack().base)

        def coroutine():
            while True:
                suspend(stackwarden.sync_stack().base)

        native, main = stackwarden.current_stack().base, getcurrent()
        stacks = [stack_below(1 << 18) for _ in range(3)]
        begun = [begin(loop, stack) for stack in stacks]
        others = [Coroutine(coroutine) for _ in range(3)]
        wrong = 0
        for _ in range(20_000):
            for one, stack, other in zip(begun, stacks, others):
                wrong += one.switch() != stack.base
                wrong += other.resume() != other.stack_base
        print(wrong, stackwarden.sync_stack().base == native)
    """) == ["True", "0 True"]  # fmt: skip


WAITS = """
import resource, sys
import greenlet
import stackwarden
from stackwarden import adapters
from stackwarden.adapters.ucontext import Coroutine

if sys.argv[1] == "adapter":
    adapters.install("greenlet")
main = greenlet.getcurrent()

def loop():
    while True:
        main.switch("hub")

def handler():
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, [in_use + (32 << 20)] * 2)  # no large copies
    try:
        return hub.switch()
    except stackwarden.IsolationRequiredError as error:
        return "outside of the stack" in str(error)

hub = greenlet.greenlet(loop)
hub.switch()
coroutine = Coroutine(handler)
print(coroutine.stack_base < stackwarden.current_stack().base, flush=True)
print(coroutine.resume(), hub.switch(), stackwarden.sync_stack().bounds_from)
"""


def test_a_switch_from_a_coroutine_to_a_greenlet_of_the_thread_is_refused(child):
    assert child(WAITS, arguments=["adapter"]).stdout == "True\nTrue hub native\n"


def test_without_the_adapter_greenlet_ends_the_process(child):
    """The unprotected twin."""
    done = child(WAITS, arguments=["none"], ends=-6)
    assert done.stdout == "True\n"
    assert "Failed low-level slp_switch()" in done.stderr


DROPS = """
import gc, resource, sys
import greenlet
import stackwarden
from stackwarden import adapters
from stackwarden.adapters.ucontext import Coroutine

if sys.argv[1] == "adapter":
    adapters.install("greenlet")
main = greenlet.getcurrent()
ended = []

class Subclass(greenlet.greenlet):
    pass

def loop(number):
    try:
        while True:
            main.switch("hub")
    finally:
        ended.append(number)

def drop():
    in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, [in_use + (32 << 20)] * 2)  # no large copies
    box.clear()
    gc.collect()
    return list(ended)

def is_below():
    return stackwarden.current_stack().base < native

native = stackwarden.current_stack().base
box = [kind(loop) for kind in (greenlet.greenlet, Subclass) for _ in range(2)]
for number, one in enumerate(box):
    one.name = str(number)
    one.switch(number)
del one
print(Coroutine(is_below).resume() and stackwarden.call_on_stack(is_below), flush=True)
if sys.argv[2] == "coroutine":
    print(Coroutine(drop).resume(), ended)
else:
    print(stackwarden.call_on_stack(drop), ended)
print(greenlet.greenlet(lambda: "new").switch(), sorted(ended))
gc.collect()
if sys.argv[1] == "adapter":
    print(len(adapters.greenlet.records()))
"""


@pytest.mark.parametrize("stack", ["coroutine", "pooled"])
def test_one_that_is_dropped_on_another_stack_is_ended_on_its_own(child, stack):
    done = child(DROPS, arguments=["adapter", stack])
    assert done.stdout.splitlines() == ["True", "[] []", "new [0, 1, 2, 3]", "1"]


@pytest.mark.parametrize("stack", ["coroutine", "pooled"])
def test_without_the_adapter_its_end_is_that_of_the_process(child, stack):
    """The unprotected twin."""
    done = child(DROPS, arguments=["none", stack], ends=-6)
    assert done.stdout == "True\n"
    assert "Failed low-level slp_switch()" in done.stderr


def test_one_that_no_switch_comes_by_any_more_stays_as_it_is(run):
    """Its thread has ended: nothing of it runs, and the process ends well."""
    assert run("""
        import gc, threading
        from stackwarden.adapters.ucontext import Coroutine

        log = []

        def loop():
            try:
                getcurrent().parent.switch()
            finally:
                log.append("ended")

        def work():
            box, here = [greenlet(loop)], stackwarden.current_stack().base
            box[0].switch()
            others = [Coroutine(box.clear, stack_size="16M") for _ in range(8)]
            next(one for one in others if one.stack_base < here).resume()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        greenlet(int).switch()
        gc.collect()
        print(log, adapters.uninstall("greenlet"))
    """) == ["[] None"]  # fmt: skip


def test_greenlets_that_begin_on_a_coroutines_stack_switch_there(run):
    assert run("""
        from stackwarden.adapters.ucontext import Coroutine

        def handler():
            here = getcurrent()
            other = greenlet(lambda: here.switch("from there") or "end")
            return other.switch(), other.switch()

        for _ in range(3):
            print(Coroutine(handler).resume())
    """) == ["('from there', 'end')"] * 3  # fmt: skip
