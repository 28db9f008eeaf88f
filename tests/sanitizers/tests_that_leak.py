"""A plugin of pytest: LeakSanitizer looks at the children of tests, but not where leaks are no finding.

Frames that are lost take along what they hold: those of suspended stacks when the process ends (docs/isolation.md,
"Letting go"), and those of other threads in the child of a fork. No frame of ours allocated it, so that no
suppression could tell it from what Python loses by a mistake of ours.
"""

import os

import pytest

# The beginnings of their names.
LEAVE_STACKS_SUSPENDED = (
    "tests/isolation/test_shutdown.py::",
    "tests/isolation/test_letting_go.py::test_one_that_cannot_be_ended",
    "tests/isolation/test_letting_go.py::test_the_frames_of_a_leaked_stack",
    "tests/isolation/test_threads.py::test_frames_that_are_dropped_on_another_thread",
    "tests/isolation/test_threads.py::test_frames_of_a_thread_that_is_gone",
    "tests/isolation/test_dropping_elsewhere.py::test_those_of_a_thread_that_is_gone",
    "tests/isolation/test_dropping_elsewhere.py::test_one_that_suspends_again",
    "tests/isolation/test_dropping_elsewhere.py::test_what_waits_at_exit",
    "tests/isolation_c/test_exit.py::",
    "tests/isolation_c/test_gil_ownership.py::test_a_refused_switch",
    "tests/isolation_c/test_inside_finish_switch.py::test_it_may_go_on",
    "tests/isolation_c/test_order.py::test_a_stack_below_which",
    "tests/isolation_c/test_own_states.py::test_ensure_in_a_state",
    "tests/isolation_c/test_reused_memory.py::",
    "tests/adapters/ucontext/test_ucontext.py::test_the_interpreter_ends_well",
    "tests/call_on_stack/test_call_on_stack.py::test_the_process_ends_while",
)
FORK = ("tests/core/test_fork_and_threads.py::",)


def pytest_configure():
    """Leaks are looked for in the children of the tests. pytest's own process, where a thousand tests leave what
    they like, would tell of no test."""
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    if not item.nodeid.startswith(LEAVE_STACKS_SUSPENDED + FORK):
        return (yield)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASAN_OPTIONS", f"{os.environ['ASAN_OPTIONS']}:detect_leaks=0")
        return (yield)
