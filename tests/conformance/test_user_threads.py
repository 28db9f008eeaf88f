"""check_user_threads finds the example's scheduler right, and the same without protection dies."""

import re
import signal
import sys

import pytest

KINDS = [
    "warm-up",
    "bounds",
    "ways out",
    "nesting",
    "records",
    "below",
    "above",
    "at once",
    "interleaving",
]
CHECKED = """
        print(*check_user_threads(run, interleave), sep="\\n")
        """


@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_finds_no_fault_in_the_example(on_workers, protected, count):
    checked, _ = on_workers(count, CHECKED, protected)
    assert [line.partition(",")[0] for line in checked] == KINDS * 2


def test_it_says_whether_user_threads_changed_their_operating_system_thread(on_workers, protected):
    """The scheduler hands one that pauses to whoever is idle; on 3.11 each waits there until it is at home."""
    both_are_up = """
        seen = set()
        while len(seen) < 2:
            run_all([lambda: seen.add(threading.get_ident())] * 10, 1 << 18)
        """
    checked, _ = on_workers(2, both_are_up + CHECKED, protected)
    changes = re.findall(r", changes (\d+)$", "\n".join(checked), re.MULTILINE)
    assert [int(count) > 0 for count in changes] == [sys.version_info >= (3, 12)] * 2


# All have begun before the first goes on: a worker that is faster than whoever spawns would run one after
# the other.
WORK = """
    COUNT = 20
    begun = []

    def begin(depth):
        begun.append(depth)
        while len(begun) < COUNT:
            my_system.pause()
        return descend(depth)

    def descend(depth):
        if depth:
            my_system.pause()
            return descend(depth - 1)
        try:
            raise KeyError
        except KeyError as error:
            my_system.pause()
            return sys.exc_info()[1] is error

    WORK = {
        "add": lambda: run(WORKLOADS["add"].run, 1 << 18),
        "interleave": lambda: all(run_all([partial(begin, n % 7) for n in range(COUNT)], 1 << 18)),
    }
"""


@pytest.mark.parametrize(("work", "outcome"), [("add", "RecursionError"), ("interleave", "True")])
def test_work_that_kills_it_unprotected_comes_out_right(
    on_workers, protected, unprotected, work, outcome
):
    program = f"{WORK}\n    print(WORK[{work!r}]())"
    assert on_workers(1, program, protected)[0] == [outcome]
    assert on_workers(1, program, unprotected, ends=-signal.SIGSEGV)[0] == []
