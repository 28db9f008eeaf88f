"""Signal handlers in C that call the C functions, or fork, while their thread holds the lock or waits for it."""

import re
import signal
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="timers of POSIX; the lock of Linux"
)

PROGRAM = """
    import signal, sys
    import stackwarden, capi_probe as probe, interrupts

    probe.import_table()
    interrupts.import_table()
    MIB = 1 << 20
    own, handlers, others = (probe.map_memory(MIB) for _ in range(3))
    stackwarden.current_stack()
    before = stackwarden.stacks(), stackwarden.status()["leaked_stacks"]
    signal.alarm(100)
    print(interrupts.run(own, handlers, others, MIB, 50, "forking" in sys.argv))
    assert (stackwarden.stacks(), stackwarden.status()["leaked_stacks"]) == before
    stackwarden.register_stack(own, MIB).unregister()
"""


@pytest.fixture(scope="module")
def built():
    import extensions

    return extensions.build([HERE / "interrupts.c"], "interrupts")


@pytest.mark.parametrize("what", ["calling", "forking"])
def test_a_c_handler_at_any_moment_of_a_call_gets_a_status_and_changes_nothing(child, built, what):
    said = child(PROGRAM, arguments=[what]).stdout
    done, refused, forked, wrong = map(int, re.findall(r"\d+", said))
    assert done >= 50
    assert refused >= 50
    assert (forked >= 10) == (what == "forking")
    assert wrong == 0


@pytest.fixture(scope="module")
def lock_program(tmp_path_factory):
    import commands
    import extensions

    program = tmp_path_factory.mktemp("lock") / "lock_in_handler"
    commands.output(*extensions.compiler(), HERE / "lock_in_handler.c", "-o", program, "-pthread")
    return program


ENDS = {"holder": 0, "stubborn": -signal.SIGALRM, "waiter": 0, "unheld": -signal.SIGALRM}


@pytest.mark.parametrize("what", ENDS)
def test_a_handler_of_who_holds_the_lock_or_waits_for_it_may_fork(lock_program, what):
    """In the two that end otherwise the handler does not take no for an answer, or the fork takes no lock."""
    import children

    children.run(lock_program, what, ends=ENDS[what])
