"""Foreign code that enters Python through its entry functions, on stacks that nobody tells of."""

import signal
import sys
import textwrap

import pytest

from foreign import build, run

ON = "stackwarden.interpose()\n"
COUNTS = sys.version_info < (3, 14)  # the mechanism counts calls; later ones compare addresses

# A thread's own stack above the coroutines', and below them.
PLACES = {"below": "{}()", "above": "foreign.in_thread({}, 8 << 20, True)"}

ENSURES = """
def work():
    for _ in range(2):
        coroutine = foreign.make(workloads.{load}, enters="ensure")
        assert foreign.resume(coroutine, {detached})
        print(foreign.result(coroutine))

"""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("detached", [True, False])
def test_recursion_on_a_fiber_that_ensures_the_gil_raises(any_jump, place, detached):
    program = ENSURES.format(load="add", detached=detached) + PLACES[place].format("work")
    run(any_jump, program, ends=-signal.SIGSEGV)
    assert run(any_jump, ON + program).stdout.split() == ["RecursionError"] * 2


@pytest.mark.skipif(COUNTS, reason="where CPython counts calls no deallocation is put off")
def test_memory_is_freed_on_a_fiber_that_ensures_the_gil(any_jump):
    program = ENSURES.format(load="containers", detached=True) + "work()"
    assert run(any_jump, program).stdout.split() == ["leaked"] * 2
    assert run(any_jump, ON + program).stdout.split() == ["freed"] * 2


@pytest.mark.skipif(COUNTS, reason="where CPython counts calls no deallocation is put off")
def test_the_trashcan_is_emptied_before_its_thread_state_is_deleted(any_jump):
    """On 64 KiB every container goes into CPython's trashcan, which is lost with the thread state."""
    program = """
        held = object()

        def work():
            for _ in range(100):
                [held]

        before = sys.getrefcount(held)
        foreign.in_thread(foreign.make(work, size=64 << 10, enters="ensure"), 8 << 20)
        print(sys.getrefcount(held) - before)
        """
    assert run(any_jump, ON + textwrap.dedent(program)).stdout == "0\n"


@pytest.mark.parametrize("place", PLACES)
def test_the_resumers_own_stack_is_protected_after_a_nested_entry(any_jump, place):
    """With the jump compiled in nobody sees the way back: the end of the entry leads there."""
    program = ENSURES.format(load="containers", detached=False)
    program += "def both():\n    work()\n    print(workloads.add(), workloads.containers())\n"
    done = run(any_jump, ON + program + PLACES[place].format("both"))
    assert done.stdout.split()[2:] == ["RecursionError", "freed"]


@pytest.mark.parametrize("enters", ["break", "calls in a break"])
@pytest.mark.parametrize("place", PLACES)
def test_a_pause_on_a_fiber_leaves_the_resumers_bounds_effective(any_jump, place, enters):
    """The fiber came with the GIL held, and with the jump compiled in nobody sees the way back: the bounds stay
    those of the resumer's stack, as without interposition."""
    program = f"""
    def both():
        sys.setrecursionlimit(10**6)  # the stack alone ends recursion
        for _ in range(3):
            foreign.resume(foreign.make(list, enters={enters!r}))
            print(workloads.add(), workloads.containers())

    """
    program = textwrap.dedent(program) + PLACES[place].format("both")
    if COUNTS:
        program = program.replace("sys.setrecursionlimit(10**6)", "pass")
    for first in ("", ON) if enters == "break" else (ON,):
        assert run(any_jump, first + program).stdout.split() == ["RecursionError", "freed"] * 3


def test_an_entry_inside_an_entry_goes_back_to_the_outer_ones_stack(seen):
    run(
        seen,
        """
        def base():
            return stackwarden.current_stack().base

        def outer():
            seen.append(base())
            inner = foreign.make(lambda: seen.append(base()), enters="ensure")
            foreign.resume(inner)
            seen.append(base())
            assert foreign.bounds(inner)[0] == seen[1]

        seen = []
        stackwarden.interpose()
        native = base()
        coroutine = foreign.make(outer, enters="ensure")
        foreign.resume(coroutine)
        assert seen[0] == seen[2] == foreign.bounds(coroutine)[0] != seen[1]
        assert base() == native
        """,
    )


@pytest.mark.parametrize("detached", [True, False])
def test_entries_that_interleave_leave_the_native_bounds_behind(any_jump, detached):
    """Fibers are parked inside their entries; they go out in the order in which they came in."""
    program = f"""
    stackwarden.interpose()
    native = stackwarden.current_stack()
    crowd = [foreign.make(None, enters="park") for _ in range(20)]
    while crowd:
        crowd = [coroutine for coroutine in crowd if not foreign.resume(coroutine, {detached})]
        stackwarden.sync_stack()
    assert stackwarden.current_stack() == native
    print(workloads.add(), workloads.containers())
    """
    if detached:  # a fiber that keeps the GIL would let nobody else in
        program = program.replace('"park"', '"ensure"').replace("None", "workloads.add")
    assert run(any_jump, program).stdout.split() == ["RecursionError", "freed"]


PARKED = """
    stackwarden.interpose()
    native = stackwarden.current_stack()

    def enter(how):
        coroutine = foreign.make(list, enters=how)
        foreign.resume(coroutine)
        return coroutine

"""


def test_entries_that_never_end_take_nothing_from_later_ones(any_jump):
    """A thread has seen more of them than it can remember."""
    program = (
        PARKED
        + """
    parked = []
    for _ in range(200):
        parked.append(enter("park"))
        stackwarden.sync_stack()
    enter("ensure")
    assert stackwarden.current_stack() == native
    print(workloads.add(), workloads.containers(), flush=True)
    os._exit(0)  # nobody resumes them
    """
    )
    assert run(any_jump, program).stdout.split() == ["RecursionError", "freed"]


def test_an_entry_where_another_never_ended_leaves_the_native_bounds_behind(any_jump):
    """A coroutine is dropped inside its entry, and the next one has its memory."""
    program = (
        PARKED
        + """
    reused = 0
    for _ in range(10):
        where = foreign.bounds(enter("park"))
        stackwarden.sync_stack()
        reused += foreign.bounds(enter("ensure")) == where
        assert stackwarden.current_stack() == native
    assert reused
    print(workloads.add(), workloads.containers(), flush=True)
    """
    )
    assert run(any_jump, program).stdout.split() == ["RecursionError", "freed"]


@pytest.mark.usefixtures("unchecked")
def test_an_entry_where_another_stack_was_told_is_a_warning_in_the_checking_mode(any_jump):
    program = """
    import warnings
    warnings.showwarning = lambda message, *where: print(message)
    stackwarden.interpose()
    for told in (False, True):
        coroutine = foreign.make(list, enters="ensure")
        other = foreign.bounds(foreign.make(list))
        if told:
            stackwarden.notify_stack_switch(*other)
        foreign.resume(coroutine)
        stackwarden.sync_stack()
    print(hex(other[0]))
    """
    lie, address = run(any_jump, program, STACKWARDEN="check").stdout.splitlines()
    assert f"told of a switch to stack [{address}, " in lie


def test_own_thread_states_on_threads_of_40_kib_are_protected(any_jump):
    """A task's thread state is made on a thread whose own stack is smaller than CPython's margins."""
    program = """
    done = []
    for _ in range(3):
        coroutine = foreign.make(lambda: done.append(workloads.add()), enters="own")
        foreign.in_thread(coroutine, 40 << 10)
    print(*done)
    """
    run(any_jump, program, ends=-signal.SIGSEGV)
    interposed = program.replace("done = []", "done = [stackwarden.interpose()][1:]")
    assert run(any_jump, interposed).stdout.split() == ["RecursionError"] * 3


def test_a_thread_that_ends_inside_its_entry_leaves_the_others_protected(any_jump):
    run(
        any_jump,
        """
        stackwarden.interpose()
        def parks():
            foreign.park(True)
        for _ in range(3):
            foreign.in_thread(foreign.make(parks, enters="ensure"), 1 << 20)
        assert workloads.add() == "RecursionError" and workloads.containers() == "freed"
        os._exit(0)  # the frames of the parked ones cannot be unwound
        """,
    )


def test_entries_see_nothing_wrong_on_the_native_stack(any_jump):
    run(
        any_jump,
        """
        stackwarden.interpose()
        foreign.pairs(1000)
        foreign.in_thread(lambda: foreign.pairs(1000), 1 << 20)
        assert mended() == 0
        """,
    )


def test_exact_bounds_come_with_stacks_that_are_seen_to_be_made(seen):
    run(
        seen,
        """
        stackwarden.interpose()
        found = []
        for size, guard_inside in ((128 << 10, False), (256 << 10, True), (1 << 20, True)):
            coroutine = foreign.make(
                lambda: found.append(stackwarden.current_stack()), size, "ensure", guard_inside
            )
            foreign.resume(coroutine, True)
            base, size = foreign.bounds(coroutine)
            assert (found[-1].base, found[-1].size) == (base, size), (found[-1], base, size)
            assert found[-1].bounds_from == "told"
            assert found[-1].system == "interposition"
        """,
    )


@pytest.mark.skipif(not COUNTS, reason="bounds are compared with the stack pointer")
def test_the_recursion_limit_is_the_users_on_the_native_stack_afterwards():
    run(
        build("ucontext"),
        """
        def depth():
            try:
                return 1 + depth()
            except RecursionError:
                return 1
        before = depth()
        stackwarden.interpose()
        foreign.resume(foreign.make(workloads.add, enters="ensure"))
        assert depth() == before
        """,
    )
