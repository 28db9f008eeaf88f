"""The end of a coroutine that nobody resumes: StackExit is raised in it, or it is leaked and counted."""

import gc
import weakref

import pytest
from stackwarden.adapters.ucontext import suspend

from stackwarden.errors import CoroutineError, StackExit


class Witness:
    """Something that a weak reference can refer to."""


def stay(log):
    """Suspend; say how it ended."""
    try:
        suspend()
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        log.append("finally")


def test_closing_raises_stack_exit_inside(coroutine):
    log = []
    made = coroutine(stay, log)
    made.resume()
    made.close()
    assert log == [StackExit, "finally"]
    assert made.done


def test_dropping_does_the_same(coroutine):
    log = []
    made = coroutine(stay, log)
    made.resume()
    del made
    assert log == [StackExit, "finally"]


def test_a_deep_one_leaves_all_its_frames(coroutine):
    left = []

    def deep(depth, witness):
        try:
            return deep(depth - 1, witness) if depth else suspend()
        finally:
            left.append(depth)

    witness = Witness()
    dies = weakref.ref(witness)
    made = coroutine(deep, 30, witness)
    made.resume()
    del witness
    made.close()
    assert left == list(range(31))
    gc.collect()
    assert dies() is None


def test_closing_before_the_start_and_after_the_end_does_nothing(coroutine):
    ran = []
    made = coroutine(ran.append, "ran")
    made.close()
    made.close()
    assert ran == []
    made = coroutine(ran.append, "ran")
    made.resume()
    made.close()
    assert ran == ["ran"]


def test_what_was_closed_cannot_be_resumed(coroutine):
    for resumed in (False, True):
        made = coroutine(suspend)
        if resumed:
            made.resume()
        made.close()
        assert made.done
        for call in (made.resume, lambda made=made: made.throw(KeyError)):
            with pytest.raises(CoroutineError, match="cannot be resumed"):
                call()
        assert list(made) == []


def test_one_that_runs_cannot_be_closed_or_resumed_from_inside(coroutine):
    def work():
        for call in (made.close, made.resume):
            with pytest.raises(CoroutineError):
                call()
        return "end"

    made = coroutine(work)
    assert made.resume() == "end"


def test_one_that_waits_for_another_cannot_be_closed_or_resumed(coroutine):
    def inner():
        for call in (outer.close, outer.resume, lambda: outer.throw(KeyError)):
            with pytest.raises(CoroutineError):
                call()
        return "inner"

    outer = coroutine(lambda: coroutine(inner).resume())
    assert outer.resume() == "inner"


def test_one_that_catches_stack_exit_may_return(coroutine):
    def work():
        try:
            suspend()
        except StackExit:
            return "caught"

    made = coroutine(work)
    made.resume()
    made.close()
    assert made.done


def test_one_that_suspends_again_gets_stack_exit_once_more(coroutine):
    log = []

    def work():
        try:
            suspend("first")
        except StackExit:
            log.append("once")
            try:
                suspend("while it ends")
            finally:
                log.append("twice")

    made = coroutine(work)
    made.resume()
    made.close()
    assert log == ["once", "twice"]
    assert made.done


def test_another_exception_leaves_close(coroutine):
    def work():
        try:
            suspend()
        finally:
            raise KeyError("instead")

    made = coroutine(work)
    made.resume()
    with pytest.raises(KeyError, match="instead"):
        made.close()
    assert made.done


STUBBORN = """
def stubborn(depth=0):
    while not depth:
        try:
            suspend()
        except BaseException:
            pass
    stubborn(depth - 1)

def leaked():
    return stackwarden.status()["leaked_stacks"]

made = coroutine(stubborn, 20)
made.resume()
"""


def test_one_that_cannot_be_ended_is_leaked_and_counted(quiet_child, mode):
    printed = quiet_child(
        STUBBORN
        + """
base = made.stack_base
try:
    made.close()
except stackwarden.errors.CoroutineError as error:
    print(str(error).partition("> ")[2])
print(made.done, leaked())
made.close()

# Its memory is not used again, by the next coroutines or by anybody else.
others = [coroutine(suspend) for _ in range(40)]
print(base in [other.stack_base for other in others])
import ctypes
print(ctypes.string_at(base, 16) == bytes(16))
""",
        mode,
    )
    assert printed == "could not be ended, and its stack is leaked\nTrue 1\nFalse\nTrue\n"


def test_one_that_cannot_be_ended_is_leaked_without_a_word_when_it_is_dropped(quiet_child, mode):
    printed = quiet_child(STUBBORN + "del made\ngc.collect()\nprint(leaked())\n", mode)
    assert printed == "1\n"


def test_the_frames_of_a_leaked_stack_can_still_be_walked(quiet_child, mode):
    printed = quiet_child(
        STUBBORN
        + """
(frame,) = [s.frame for s in stackwarden.stacks() if s.base == made.stack_base]
del made
for _ in range(50):
    coroutine(int).close()
    coroutine(int).resume()
gc.collect()
names = []
while frame is not None:
    names.append(frame.f_code.co_name)
    assert frame.f_lineno > 0 and "depth" in frame.f_locals
    frame = frame.f_back
print(names == ["stubborn"] * 21, leaked())
""",
        mode,
    )
    assert printed == "True 1\n"


@pytest.mark.parametrize("raises", ["in Python", "in C"])
def test_one_is_dropped_while_an_exception_is_on_its_way(coroutine, raises):
    log = []

    def hold():
        made = coroutine(stay, log)
        made.resume()
        return made

    class Fails:
        def __init__(self):
            self.held = hold()

        def __iter__(self):
            return self

        def __next__(self):
            raise KeyError("on its way")

    def fail():
        held = hold()  # noqa: F841 (goes with the frame)
        raise KeyError("on its way")

    with pytest.raises(KeyError, match="on its way") as raised:
        fail() if raises == "in Python" else list(Fails())
    assert raised.value.__context__ is None
    del raised
    gc.collect()
    assert log == [StackExit, "finally"]


def test_what_ends_while_another_is_dropped_sees_its_own_exceptions(coroutine):
    """The coroutine that is dropped ends on its own stack, in the middle of an except block here."""
    log = []

    def work():
        try:
            raise ValueError
        except ValueError as error:
            try:
                suspend()
            except StackExit as end:
                log.append(end.__context__ is error)

    made = coroutine(work)
    made.resume()
    try:
        raise KeyError
    except KeyError as error:
        del made
        assert log == [True]
        assert error.__context__ is None


def test_a_raising_destructor_is_reported_and_switches_go_on(coroutine, monkeypatch):
    reports = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: reports.append(report.exc_value))

    class Raises:
        def __del__(self):
            raise KeyError(suspend("in the destructor"))

    def work():
        held = Raises()
        del held
        return suspend("afterwards")

    made = coroutine(work)
    assert made.resume() == "in the destructor"
    assert made.resume("resumed") == "afterwards"
    assert made.resume("end") == "end"
    assert [error.args for error in reports] == [("resumed",)]


def test_a_raising_coroutine_that_is_dropped_is_reported(coroutine, monkeypatch):
    reports = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: reports.append(report.exc_value))

    def work():
        try:
            suspend()
        finally:
            raise KeyError("while it ended")

    made = coroutine(work)
    made.resume()
    del made
    assert [error.args for error in reports] == [("while it ended",)]


def test_a_finished_coroutine_lets_go_of_its_arguments_and_its_stack(coroutine):
    witness = Witness()
    dies = weakref.ref(witness)
    made = coroutine(lambda argument: None, witness)
    del witness
    assert dies() is not None
    made.resume()
    gc.collect()
    assert dies() is None
    assert made.stack_base is None


def test_stacks_are_used_again(coroutine):
    bases = set()
    for _ in range(100):
        made = coroutine(suspend)
        bases.add(made.stack_base)
        made.resume()
        made.close()
    assert len(bases) < 20


def test_memory_stays_flat_over_many_coroutines(coroutine, mode):
    """A finished one gives back its data stack: 16 KiB each, 1.6 GB for all of these."""

    def resident():
        with open("/proc/self/statm") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * 4096

    def deep(depth):
        return deep(depth - 1) if depth else suspend()

    def live_and_end(count):
        for number in range(count):
            made = coroutine(deep, number % 50)
            made.resume()
            made.resume()

    live_and_end(1000)
    before = resident()
    # A thread state is made by asking the system for the bounds of the thread: slow.
    live_and_end(100_000 if mode == "frames" else 3000)
    assert resident() - before < 2 << 20
