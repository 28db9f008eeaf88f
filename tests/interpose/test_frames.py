"""isolation="frames": systems whose Python frames interleave, and which crash on every CPython without."""

import signal

import pytest

from foreign import build, run
from interleaving import ENDED_WELL, interleaved

ON = 'interposition = stackwarden.interpose(isolation="frames")\n'

each_way = pytest.mark.parametrize(
    ("enters", "detached"), [("straight", False), ("ensure", False), ("ensure", True)]
)
PLACES = {"below": "work()", "above": "foreign.in_thread(work, 8 << 20, True)"}


@pytest.mark.parametrize("place", PLACES)
@each_way
def test_python_frames_interleave(seen, place, enters, detached):
    for checks in False, True:
        program = interleaved(enters, detached, checks) + PLACES[place]
        if not checks:
            run(seen, program, ends=-signal.SIGSEGV)
        run(seen, ON + program + ENDED_WELL)


@each_way
def test_recursion_raises_on_stacks_with_isolation(seen, enters, detached):
    run(
        seen,
        ON
        + f"""
def work():
    foreign.park({detached})
    done.append(workloads.add())
    foreign.park({detached})
    done.append(workloads.containers())
done = []
crowd = [foreign.make(work, enters={enters!r}) for _ in range(3)]
for _ in range(3):
    for coroutine in crowd:
        foreign.resume(coroutine, {detached})
assert done == ["RecursionError"] * 3 + ["freed"] * 3, done
"""
        + ENDED_WELL,
    )


def test_what_a_finished_coroutine_held_is_freed(seen):
    run(
        seen,
        ON
        + """
import contextvars, weakref
class Thing:
    pass
variable = contextvars.ContextVar("variable")
def work():
    thing = Thing()
    things.append(weakref.ref(thing))
    variable.set(thing)
    foreign.park()
things = []
def rounds(count):
    for _ in range(count):
        coroutine = foreign.make(work)
        places.add(foreign.bounds(coroutine)[0])
        foreign.resume(coroutine)
        foreign.resume(coroutine)
places = set()
rounds(100)
before = workloads.resident_bytes()
rounds(1000)
foreign.resume(foreign.make(lambda: None))
gc.collect()
alive = sum(thing() is not None for thing in things)
assert alive <= len(places) < 100, (alive, len(places))  # at most the last one on each stack
assert workloads.resident_bytes() - before < 4 << 20, workloads.resident_bytes() - before
"""
        + ENDED_WELL,
    )


def test_it_stays_on_while_stacks_need_it_to_go_on(seen):
    run(
        seen,
        ON
        + """
def work():
    foreign.park()
coroutine = foreign.make(work)
foreign.resume(coroutine)
try:
    interposition.undo()
except stackwarden.InterpositionError as error:
    assert "1 stack" in str(error), error
else:
    raise AssertionError
foreign.resume(coroutine)
"""
        + ENDED_WELL,
    )


def test_another_isolation_is_refused_while_it_is_on(seen):
    run(
        seen,
        ON
        + """
try:
    stackwarden.interpose()
except stackwarden.InterpositionError as error:
    assert "frames" in str(error)
else:
    raise AssertionError
"""
        + ENDED_WELL,
    )


COUNTED = """
import warnings
warnings.showwarning = lambda message, category, *where: print(category.__name__, message)
stackwarden.interpose({isolation})

def parks():
    for _ in range(3):
        foreign.park(True)

def ends():
    foreign.resume(foreign.make(list, enters="ensure"), True)

crowd = [foreign.make({work}, enters={enters!r}) for _ in range(4)]
for _ in range({rounds}):
    for coroutine in crowd:
        foreign.resume(coroutine, {detached})
for _ in range(100):
    pass  # a pending call runs here
print(stackwarden.status()["interleaved_frames"] > 0, flush=True)
os._exit(0)  # what the frames have come to is not to be unwound
"""


@pytest.mark.parametrize("isolation", ["", "isolation='frames'"])
def test_frames_that_interleave_unseen_are_counted_and_warned_of_once(isolation):
    program = COUNTED.format(
        isolation=isolation, work="parks", rounds=2, detached=True, enters="ensure"
    )
    warned, counted = run(build("static"), program).stdout.splitlines()
    assert warned.startswith("InterleavedFramesWarning ")
    assert "foreign_static" in warned
    assert ("--isolation=frames" in warned) == (not isolation)
    assert counted == "True"


@pytest.mark.parametrize("enters", ["ensure", "own", "calls in a break"])
def test_frames_that_end_before_the_resumer_goes_on_do_not_interleave(any_jump, enters):
    detached = "break" not in enters
    program = COUNTED.format(isolation="", work="ends", rounds=1, detached=detached, enters=enters)
    assert run(any_jump, program).stdout == "False\n"


def test_frames_that_interleave_with_isolation_are_not_warned_of(seen):
    program = COUNTED.format(
        isolation="isolation='frames'", work="parks", rounds=4, detached=True, enters="ensure"
    )
    assert run(seen, program).stdout == "False\n"
