"""Coroutines of the ucontext adapter: what they promise, on every way in and out.

What may end the process runs in a child. Each test of the pool uses a stack size of its own, so that
no other test has stacks of it there.
"""

import ctypes
import gc
import os
import resource
import shutil
import signal
import sys
import threading
import traceback
import weakref
from itertools import pairwise

import pytest
from stackwarden.adapters.ucontext import DEFAULT_STACK_SIZE, POOLED_STACKS, Coroutine, suspend

import backtraces
import children
import commands
import conformance
import debian
import stackwarden
from availability import unavailable
from stackwarden.testing.child import in_thread

KIB = 1024
MIB = 1024 * KIB
LEAST = stackwarden.status()["least_stack_size"]
ADAPTER = "stackwarden.adapters.ucontext"


def said(program: str, *arguments: str) -> str:
    """What a program prints that ends well."""
    return children.run_python(program, arguments=arguments).stdout.strip()


class Thing:
    """Something that weak references can be made to."""


# ---- the conformance kit ----


def test_the_adapter_conforms_on_stacks_below_and_above():
    conformance.check(ADAPTER)


# ---- results and exceptions ----


def test_resume_gives_the_arguments_to_the_function_and_returns_its_result():
    thing = Thing()
    assert Coroutine(lambda *arguments: arguments, 1, thing, None).resume() == (1, thing, None)


@pytest.mark.parametrize("not_callable", [None, 5, "name"])
def test_what_cannot_be_called_is_refused(not_callable):
    with pytest.raises(TypeError, match="callable"):
        Coroutine(not_callable)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(TypeError, match="size"):
        Coroutine(int, size=1 * MIB)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a"),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(4),
        MemoryError(),
        stackwarden.errors.StackExit(),
    ],
    ids=repr,
)
def test_every_exception_comes_out_as_the_same_object_and_the_bounds_with_it(error):
    outside = stackwarden.current_stack()

    def fail():
        raise error

    coroutine = Coroutine(fail)
    with pytest.raises(type(error)) as caught:
        coroutine.resume()
    assert caught.value is error
    assert coroutine.done
    assert stackwarden.current_stack() == outside
    assert stackwarden.sync_stack() == outside


def test_traceback_shows_the_frames_inside_and_the_call_outside():
    def innermost():
        raise LookupError

    def outermost():
        innermost()

    with pytest.raises(LookupError) as caught:
        Coroutine(outermost).resume()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    here = "test_traceback_shows_the_frames_inside_and_the_call_outside"
    assert names == [here, "outermost", "innermost"]


def test_an_exception_outside_is_not_handled_inside_and_is_again_afterwards():
    error = KeyError("outside")
    try:
        raise error
    except KeyError:
        inside, outside = Coroutine(sys.exc_info).resume(), sys.exc_info()
    assert inside == (None, None, None)
    assert outside[1] is error


def test_interrupt_inside_comes_out_and_the_bounds_with_it():
    outside = stackwarden.current_stack()
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Coroutine(signal.raise_signal, signal.SIGINT).resume()
    finally:
        signal.signal(signal.SIGINT, former)
    assert stackwarden.current_stack() == outside


# ---- effective bounds ----


def test_inside_the_bounds_are_those_of_the_coroutines_stack():
    coroutine = Coroutine(
        lambda: (stackwarden.current_stack(), stackwarden.sync_stack(), current_thread())
    )
    base = coroutine.stack_base
    told, found, thread = coroutine.resume()
    assert (told.base, told.size) == (base, DEFAULT_STACK_SIZE)
    assert told == found
    assert (told.system, told.bounds_from) == ("ucontext", "told")
    assert thread == threading.get_ident()


def current_thread() -> int | None:
    return stackwarden.current_stack().thread


def test_afterwards_the_bounds_are_those_of_the_resumer():
    outside = stackwarden.current_stack()
    Coroutine(int).resume()
    assert stackwarden.current_stack() == outside
    assert stackwarden.sync_stack() == outside


def test_nested_coroutines_each_run_on_their_own_stack_and_come_back_to_the_former_one():
    depth = 20

    def descend(level):
        before = stackwarden.sync_stack()
        deeper = Coroutine(descend, level - 1).resume() if level else []
        assert stackwarden.current_stack() == before
        return [before.base, *deeper]

    bases = descend(depth)
    assert len(set(bases)) == depth + 1


def test_recursion_ends_in_an_error_inside_and_outside_again():
    def endless():
        endless()

    for _ in range(3):
        with pytest.raises(RecursionError):
            Coroutine(endless).resume()
    with pytest.raises(RecursionError):
        endless()


def test_callbacks_see_the_way_in_and_the_way_out():
    seen = []

    def callback(left, entered):
        seen.append((left.base, entered.base))

    coroutine = Coroutine(int)
    inside, outside = coroutine.stack_base, stackwarden.current_stack().base
    stackwarden.register_switch_callback(callback)
    try:
        coroutine.resume()
    finally:
        stackwarden.unregister_switch_callback(callback)
    assert seen == [(outside, inside), (inside, outside)]


# ---- what may be done when ----


def test_a_coroutine_is_done_when_its_function_has_returned():
    coroutine = Coroutine(lambda: coroutine.done)
    assert not coroutine.done
    assert coroutine.resume() is False
    assert coroutine.done
    assert coroutine.stack_base is None


def test_resuming_twice_is_refused_and_runs_nothing():
    calls = []
    coroutine = Coroutine(calls.append, 1)
    coroutine.resume()
    with pytest.raises(stackwarden.errors.CoroutineError, match="done"):
        coroutine.resume()
    assert calls == [1]


def test_a_value_for_the_first_resume_is_refused_and_the_coroutine_can_still_start():
    coroutine = Coroutine(lambda: "ran")
    with pytest.raises(TypeError, match="first"):
        coroutine.resume(1)
    assert coroutine.resume(None) == "ran"


@pytest.mark.parametrize("call", [Coroutine.resume, Coroutine.close, next])
def test_what_runs_cannot_be_resumed_or_closed_from_inside(call):
    def inside():
        with pytest.raises(stackwarden.errors.CoroutineError, match="running"):
            call(coroutine)
        return "ran on"

    coroutine = Coroutine(inside)
    assert coroutine.resume() == "ran on"


@pytest.mark.parametrize("call", [Coroutine.resume, Coroutine.close, next])
def test_what_runs_cannot_be_resumed_or_closed_from_another_thread(call):
    def elsewhere():
        with pytest.raises(stackwarden.errors.CoroutineError, match="running"):
            call(coroutine)
        return "refused"

    coroutine = Coroutine(lambda: in_thread(elsewhere))
    assert coroutine.resume() == "refused"


def test_closed_before_its_start_it_never_runs():
    calls = []
    coroutine = Coroutine(calls.append, 1)
    coroutine.close()
    assert coroutine.done
    assert coroutine.stack_base is None
    with pytest.raises(stackwarden.errors.CoroutineError, match="done"):
        coroutine.resume()
    assert calls == []


def test_closing_again_or_after_the_end_does_nothing():
    for coroutine in (Coroutine(int), Coroutine(int)):
        coroutine.close()
        coroutine.close()
    coroutine = Coroutine(int)
    coroutine.resume()
    coroutine.close()
    assert coroutine.done


def test_the_text_of_a_coroutine_says_its_function_and_state():
    def function():
        return repr(coroutine)

    coroutine = Coroutine(function)
    assert repr(coroutine) == f"<Coroutine of {function!r}, not started>"
    assert coroutine.resume() == f"<Coroutine of {function!r}, running>"
    assert repr(coroutine) == f"<Coroutine of {function!r}, done>"


def test_it_may_start_on_another_thread_than_it_was_made_on():
    coroutine = Coroutine(current_thread)
    ident, seen = in_thread(lambda: (threading.get_ident(), coroutine.resume()))
    assert ident == seen != threading.get_ident()


def test_many_threads_at_once_each_run_on_the_right_stack():
    threads, rounds = 8, 100
    together = threading.Barrier(threads)

    def inside(number):
        base = stackwarden.current_stack().base
        switched = sum(stackwarden.sync_stack().base == base for _ in range(20))
        return number, base, switched

    def work(number):
        together.wait(children.SECONDS)
        for turn in range(rounds):
            coroutine = Coroutine(inside, turn)
            base = coroutine.stack_base
            assert coroutine.resume() == (turn, base, 20)
        return number

    results, errors = [], []

    def guarded(number):
        try:
            results.append(work(number))
        except BaseException as error:
            errors.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        workers = [threading.Thread(target=guarded, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    assert errors == []
    assert sorted(results) == list(range(threads))


# ---- stacks ----


def registered(size: int) -> int:
    """How many stacks of one size have a record, those in the pool among them."""
    return sum(stack.size == size for stack in stackwarden.stacks())


def test_the_stack_of_one_that_is_done_is_given_to_the_next():
    size = 300 * KIB
    for end in (Coroutine.resume, Coroutine.close):
        first = Coroutine(int, stack_size=size)
        base = first.stack_base
        end(first)
        second = Coroutine(int, stack_size=size)
        assert second.stack_base == base
        second.close()


def test_stacks_in_use_are_not_shared():
    coroutines = [Coroutine(int, stack_size=304 * KIB) for _ in range(50)]
    bases = sorted(coroutine.stack_base for coroutine in coroutines)
    assert all(high - low >= 304 * KIB for low, high in pairwise(bases))


def test_the_pool_keeps_no_more_stacks_than_it_says():
    size, made = 308 * KIB, POOLED_STACKS + 20
    coroutines = [Coroutine(int, stack_size=size) for _ in range(made)]
    assert registered(size) == made
    for coroutine in coroutines:
        coroutine.resume()
    assert registered(size) == POOLED_STACKS


def test_a_stack_in_the_pool_that_somebody_unregistered_is_not_given_to_the_next():
    size = 320 * KIB
    Coroutine(int, stack_size=size).resume()
    for stack in stackwarden.stacks():
        if (stack.system, stack.size) == ("ucontext", size):
            stack.unregister()
    coroutine = Coroutine(lambda: stackwarden.current_stack().system, stack_size=size)
    assert coroutine.resume() == "ucontext"


@pytest.mark.parametrize("size", [0, -1, -DEFAULT_STACK_SIZE, 2**47, 2**63, 2**64, 2**100])
def test_sizes_that_no_stack_can_have_are_refused_with_the_number(size):
    with pytest.raises(stackwarden.StackRangeError, match=str(size)):
        Coroutine(int, stack_size=size)


@pytest.mark.parametrize("size", [1, 4096, LEAST - 4096])
def test_sizes_that_cannot_be_protected_are_refused_with_the_number(size):
    with pytest.raises(stackwarden.StackTooSmallError, match=str(max(size, 4096))):
        Coroutine(int, stack_size=size)
    assert registered(max(size, 4096)) == 0


def test_the_least_size_works():
    assert Coroutine(lambda: "ran", stack_size=LEAST).resume() == "ran"


def test_a_size_that_cannot_be_mapped_is_a_memory_error():
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, limits[1]))
    try:
        with pytest.raises(MemoryError, match=str(2**40)):
            Coroutine(int, stack_size=2**40)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize(
    "size",
    [
        None,
        [1],
        262144.5,
    ],
)
def test_sizes_that_are_no_integers_are_refused(size):
    with pytest.raises(TypeError):
        Coroutine(int, stack_size=size)


def test_sizes_are_rounded_up_to_whole_pages():
    page = os.sysconf("SC_PAGE_SIZE")
    coroutine = Coroutine(lambda: stackwarden.current_stack().size, stack_size=256 * KIB + 1)
    assert coroutine.resume() == 256 * KIB + page


def test_a_large_stack_can_be_used_to_its_end():
    # 1 MiB is left for the call itself.
    def inside():
        base = stackwarden.current_stack().base
        ctypes.memset(base, 1, 63 * MIB)
        return ctypes.string_at(base, 1)

    assert Coroutine(inside, stack_size=64 * MIB).resume() == b"\x01"


BELOW_THE_BASE = """
import ctypes, sys
from stackwarden.adapters.ucontext import Coroutine

def inside():
    ctypes.memset(coroutine.stack_base, 0, 1)
    print("the base can be written", flush=True)
    ctypes.memset(coroutine.stack_base - 1, 0, 1)
    print("below it too")

beneath = [Coroutine(int) for _ in range(4)]
coroutine = Coroutine(inside)
coroutine.resume()
"""


def test_a_write_below_the_base_ends_the_process_by_sigsegv():
    ended = children.run_python(BELOW_THE_BASE, ends=-signal.SIGSEGV)
    assert ended.stdout == "the base can be written\n"


# ---- what is left behind ----

GROWTH = """
import gc
from stackwarden.adapters.ucontext import Coroutine
from stackwarden.testing.workloads import resident_bytes

def fail():
    raise ValueError

def use(count):
    for _ in range(count // 4):
        Coroutine(int).resume()
        Coroutine(int).close()
        Coroutine(int)
        try:
            Coroutine(fail).resume()
        except ValueError:
            pass

use(2_000)
before = resident_bytes()
use(100_000)
print(resident_bytes() - before)
"""


def test_memory_does_not_grow_over_a_hundred_thousand_coroutines():
    assert int(said(GROWTH)) < 1 * MIB


def test_one_that_is_dropped_unstarted_never_runs_and_leaves_nothing():
    size = 312 * KIB
    calls, thing = [], Thing()
    alive = weakref.ref(thing)
    coroutines = [Coroutine(calls.append, thing, stack_size=size) for _ in range(30)]
    assert registered(size) == 30
    del coroutines, thing
    assert (calls, alive()) == ([], None)
    assert registered(size) == 0


def test_one_that_refers_to_itself_is_collected():
    size = 316 * KIB
    things = [Thing() for _ in range(30)]
    alive = [weakref.ref(thing) for thing in things]
    for thing in things:
        thing.coroutine = Coroutine(lambda thing: thing, thing, stack_size=size)
    del things, thing
    gc.collect()
    assert {reference() for reference in alive} == {None}
    assert registered(size) == 0


def test_results_arguments_and_exceptions_are_let_go_of():
    def fail(thing):
        raise ValueError(thing)

    thing = Thing()
    alive = weakref.ref(thing)
    done = Coroutine(lambda thing: thing, thing)
    assert done.resume() is thing
    failed = Coroutine(fail, thing)
    with pytest.raises(ValueError, match="Thing") as caught:
        failed.resume()
    del thing, caught
    assert alive() is None
    assert done.done
    assert failed.done


IN_THE_MIDDLE = """
import os, threading
from stackwarden.adapters.ucontext import Coroutine, suspend

def spin():
    started.set()
    while True:
        os.stat(".")  # lets others run

started = threading.Event()
threads = [threading.Thread(target=Coroutine(spin).resume, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
started.wait()
unstarted = Coroutine(int)
suspended = Coroutine(suspend)
suspended.resume()
print("over", flush=True)
"""


def test_the_interpreter_ends_well_with_coroutines_running_suspended_and_unstarted():
    ended = children.run_python(IN_THE_MIDDLE)
    assert (ended.stdout, ended.stderr) == ("over\n", "")


EXIT_INSIDE = """
import sys
from stackwarden.adapters.ucontext import Coroutine
Coroutine(lambda: Coroutine(sys.exit, 7).resume()).resume()
"""


def test_exit_inside_is_an_exit():
    ended = children.run_python(EXIT_INSIDE, ends=7)
    assert (ended.stdout, ended.stderr) == ("", "")


FORK_INSIDE = """
import os
import stackwarden
from stackwarden.adapters.ucontext import Coroutine
from stackwarden.testing.workloads import WORKLOADS

def works():
    return [WORKLOADS[name].run() for name in ("add", "containers")]

def inside():
    return os.fork(), works(), stackwarden.sync_stack().system

process, inside, system = Coroutine(inside).resume()
assert (inside, system) == (["RecursionError", "freed"], "ucontext"), (inside, system)
assert works() == ["RecursionError", "freed"]
assert stackwarden.sync_stack().bounds_from == "native"
if process == 0:
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
"""


def test_after_a_fork_inside_both_processes_are_protected_and_come_back():
    assert said(FORK_INSIDE) == "3"


# ---- debuggers ----


def test_backtrace_ends_at_the_entry_however_deep_the_resumer_is():
    if not hasattr(ctypes.CDLL(None), "backtrace"):
        unavailable("backtrace(3)", "this C library does not have it")
    shallow, deep = (said(backtraces.PROGRAM, ADAPTER, depth).splitlines() for depth in ("0", "20"))
    assert len(shallow) == len(deep)
    adapter = [place for place, frame in enumerate(shallow) if "ucontext/_coroutine" in frame]
    # The first function on the stack, and what makecontext put above it.
    assert adapter[-1] >= len(shallow) - 2


TRAP = backtraces.PROGRAM.replace(
    "Coroutine(backtrace).resume()", "Coroutine(trap).resume()"
).replace(
    "seen = []",
    "import os, signal\ndef trap():\n    os.kill(os.getpid(), signal.SIGTRAP)\nseen = []",
)


def gdb() -> list[str]:
    """The debugger with its data: the machine's, or one that is unpacked."""
    installed = shutil.which("gdb")
    if installed:
        return [installed]
    try:
        folder = debian.unpack("gdb", release=debian.own_release())
    except commands.HarnessError as error:
        unavailable("gdb", str(error))
    return [f"{folder}/usr/bin/gdb", f"--data-directory={folder}/usr/share/gdb"]


def gdb_frames(depth: str) -> list[str]:
    settings = ("auto-load off", "debuginfod enabled off", "pagination off")
    said = children.run(
        *gdb(),
        *("-nx", "-batch"),
        *(word for setting in settings for word in ("-iex", f"set {setting}")),
        *("-ex", "run", "-ex", "bt"),
        *("--args", sys.executable, "-c", TRAP, ADAPTER, depth),
        ends=None,
    )
    if "ptrace" in said.stderr:
        unavailable("ptrace", said.stderr)
    assert "SIGTRAP" in said.stdout, said.stdout + said.stderr
    complaints = ("Backtrace stopped", "corrupt", "Cannot access memory")
    assert not [word for word in complaints if word in said.stdout + said.stderr]
    return [line for line in said.stdout.splitlines() if line.startswith("#")]


def test_gdb_ends_at_the_entry_however_deep_the_resumer_is():
    shallow, deep = gdb_frames("0"), gdb_frames("20")
    assert len(shallow) == len(deep)
    adapter = [place for place, frame in enumerate(shallow) if "ucontext/_coroutine" in frame]
    assert adapter[-1] >= len(shallow) - 3
    assert not [frame for frame in shallow if "__libc_start" in frame]


# ---- suspending ----


def test_values_go_both_ways_from_anywhere_below_the_function():
    class Number:
        def __init__(self, value):
            self.value = value

        def __lt__(self, other):
            return suspend((self.value, other.value))

    coroutine = Coroutine(lambda: [number.value for number in sorted([Number(1), Number(2)])])
    assert coroutine.resume() == (2, 1)
    assert not coroutine.done
    assert coroutine.resume(True) == [2, 1]
    assert coroutine.done


def test_suspend_on_a_stack_that_is_not_the_coroutines_is_refused():
    """Coming back would go to another stack than the one that is left."""
    try:
        from stackwarden.adapters import fcontext
    except ImportError as error:
        unavailable("boost", str(error))

    def inside():
        with pytest.raises(stackwarden.errors.CoroutineError):
            suspend()
        return "ran on"

    assert Coroutine(lambda: fcontext.Coroutine(inside).resume()).resume() == "ran on"


def test_suspend_outside_of_any_coroutine_is_refused():
    with pytest.raises(stackwarden.errors.CoroutineError, match="outside"):
        suspend()


def test_iterating_gives_what_it_suspends_with():
    def count():
        for number in range(3):
            suspend(number)
        return "result"

    assert list(Coroutine(count)) == [0, 1, 2]
    coroutine = Coroutine(count)
    for _ in coroutine:
        pass
    with pytest.raises(StopIteration):
        next(coroutine)


def test_an_exception_can_be_thrown_in_and_may_be_caught_there():
    def function():
        try:
            suspend()
        except LookupError as error:
            return error

    error = LookupError()
    coroutine = Coroutine(function)
    coroutine.resume()
    assert coroutine.throw(error) is error


def test_closing_and_dropping_run_what_waits_for_the_end():
    ends = []

    def function(name):
        try:
            suspend()
        finally:
            ends.append(name)

    for name, end in (("closed", Coroutine.close), ("dropped", id)):
        coroutine = Coroutine(function, name)
        coroutine.resume()
        end(coroutine)
        del coroutine
    assert ends == ["closed", "dropped"]


def test_a_suspended_one_is_resumed_on_its_thread_only():
    coroutine = Coroutine(lambda: suspend())
    coroutine.resume()
    with pytest.raises(stackwarden.OtherThreadError):
        in_thread(coroutine.resume)
    assert coroutine.resume("here") == "here"


def test_an_exception_that_could_not_be_thrown_in_is_not_thrown_later():
    coroutine = Coroutine(lambda: suspend())
    coroutine.resume()
    with pytest.raises(stackwarden.OtherThreadError):
        in_thread(lambda: coroutine.throw(LookupError))
    assert coroutine.resume("here") == "here"


def test_closing_on_another_thread_is_refused_and_changes_nothing():
    leaked = stackwarden.status()["leaked_stacks"]
    coroutine = Coroutine(lambda: suspend())
    coroutine.resume()
    with pytest.raises(stackwarden.OtherThreadError):
        in_thread(coroutine.close)
    assert not coroutine.done
    assert coroutine.resume("here") == "here"
    assert stackwarden.status()["leaked_stacks"] == leaked
