"""Foreign code that switches with the GIL held and calls straight into Python: no entry function runs at all."""

import signal
import sys

import pytest

import foreign
from foreign import run

COUNTS = sys.version_info < (3, 14)  # the mechanism counts calls; later ones compare addresses
ON = "stackwarden.interpose()\n"
PLACES = {"below": "{}()", "above": "foreign.in_thread({}, 8 << 20, True)"}

STRAIGHT = """
def work():
    for _ in range(2):
        coroutine = foreign.make(workloads.{load})
        foreign.resume(coroutine)
        print(foreign.result(coroutine))

"""


@pytest.mark.parametrize("place", PLACES)
def test_recursion_on_a_stack_that_was_switched_to_raises(seen, place):
    program = STRAIGHT.format(load="add") + PLACES[place].format("work")
    run(seen, program, ends=-signal.SIGSEGV)
    assert run(seen, ON + program).stdout.split() == ["RecursionError"] * 2


@pytest.mark.skipif(COUNTS, reason="where CPython counts calls no deallocation is put off")
def test_memory_is_freed_on_a_stack_that_was_switched_to(seen):
    program = STRAIGHT.format(load="containers") + "work()"
    assert run(seen, program).stdout.split() == ["leaked"] * 2
    assert run(seen, ON + program).stdout.split() == ["freed"] * 2


def test_the_native_stack_has_its_bounds_again_after_the_switch_back(seen):
    program = STRAIGHT.format(load="add") + "work()\nprint(workloads.add(), mended())"
    assert run(seen, ON + program).stdout.split() == ["RecursionError"] * 3 + ["0"]


def test_a_coroutine_that_is_resumed_has_its_bounds_again(seen):
    run(
        seen,
        ON
        + """
def work():
    for _ in range(3):
        bases.append(stackwarden.current_stack().base)
        foreign.park()
    results.append(workloads.add())

results, bases = [], []
native = stackwarden.current_stack()
crowd = [foreign.make(work) for _ in range(2)]
for _ in range(3):
    for coroutine in crowd:
        # One at a time: frames that interleave need isolation.
        foreign.resume(coroutine) if coroutine is crowd[0] else None
        assert stackwarden.current_stack() == native
foreign.resume(crowd[0])
assert set(bases) == {foreign.bounds(crowd[0])[0]} and results == ["RecursionError"]
""",
    )


def test_what_runs_on_top_of_another_stack_has_its_bounds():
    done = run(
        foreign.build("fcontext"),
        ON
        + """
coroutine = foreign.make(lambda: workloads.add())
foreign.resume(coroutine, ontop=True)
print(foreign.result(coroutine), workloads.add())
""",
    )
    assert done.stdout.split() == ["RecursionError"] * 2


def test_a_stack_whose_memory_is_used_anew_gets_its_new_bounds(seen):
    """The coroutine of each round is over and its memory unmapped; other sizes come to lie there."""
    run(
        seen,
        ON
        + """
for size in [128 << 10, 512 << 10, 256 << 10, 1 << 20] * 10:
    found = []
    coroutine = foreign.make(lambda: found.append(stackwarden.current_stack()), size)
    foreign.resume(coroutine)
    assert (found[0].base, found[0].size) == foreign.bounds(coroutine), found
    del coroutine
""",
    )


def test_makecontext_passes_all_arguments():
    run(
        foreign.build("ucontext"),
        ON
        + """
assert foreign.eight_arguments() == tuple(range(1, 9))
""",
    )


def test_a_signal_handler_may_switch(seen):
    """C code switches inside the handler of a signal that comes in the middle of Python."""
    run(
        seen,
        ON
        + """
foreign.switch_in_handler()
os.kill(os.getpid(), 10)
text = [repr(number) for number in range(1000)]
for _ in range(100):
    os.kill(os.getpid(), 10)
    text.sort()
assert foreign.handled() == 101
assert workloads.add() == "RecursionError"
""",
    )


@pytest.mark.parametrize("isolation", ["none", "frames"])
def test_callbacks_run_on_the_new_stack_with_its_next_sync_or_before_it_is_left(seen, isolation):
    run(
        seen,
        f"stackwarden.interpose(isolation={isolation!r})"
        + """
told = []
def callback(old, new):
    told.append((old.base, new.base, stackwarden.current_stack().base))

def work():
    foreign.park()
    assert len(told) == 2, told
    stackwarden.sync_stack()
    assert len(told) == 3, told

native = stackwarden.current_stack().base
coroutine = foreign.make(work)
base = foreign.bounds(coroutine)[0]
stackwarden.register_switch_callback(callback)
foreign.resume(coroutine)
assert told == [(native, base, base)], told
foreign.resume(coroutine)
stackwarden.sync_stack()
assert told == [(native, base, base), (base, native, native)] * 2, told
""",
    )
