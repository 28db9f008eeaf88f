"""What processes come to under each policy: real recursion on real stacks."""

import sys

import pytest

COUNTS = sys.version_info < (3, 14)
SIGSEGV = -11

RECURSE = """
    import faulthandler, resource, sys
    import capi_probe, stackwarden
    from stackwarden.testing.workloads import WORKLOADS

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    SIZE = 256 * 1024
    area = capi_probe.map_memory(SIZE + 8192)
    capi_probe.forbid(area, 4096)
    capi_probe.forbid(area + 4096 + SIZE, 4096)
    BASE = area + 4096

    def on_the_stack():
        {before}
        print(WORKLOADS[{workload!r}].run(), flush=True)

    print(capi_probe.call_on(BASE, SIZE, on_the_stack))
"""
TELL = "stackwarden.notify_stack_switch(BASE, SIZE)"
SYNC = "stackwarden.sync_stack()"


@pytest.mark.parametrize("how", [TELL, SYNC])
@pytest.mark.parametrize("word", ["exact", "estimate"])
def test_bounds_that_are_checked_raise(child, how, word):
    program = RECURSE.format(before=how, workload="add")
    done = child(program, STACKWARDEN=f"policy={word},unknown={word}")
    assert done.stdout == "RecursionError\nNone\n"


@pytest.mark.parametrize("how", [TELL, SYNC])
@pytest.mark.parametrize("word", ["counted", "disabled"])
def test_what_is_not_checked_dies_in_recursion(child, how, word):
    ends = 0 if COUNTS and word == "counted" else SIGSEGV
    child(
        RECURSE.format(before=how, workload="add"),
        ends=ends,
        STACKWARDEN=f"policy={word},unknown={word}",
    )


@pytest.mark.parametrize("how", [TELL, SYNC, "pass"])
def test_disabled_puts_off_no_deallocation(child, how):
    program = RECURSE.format(before=how, workload="containers")
    done = child(program, STACKWARDEN="policy=disabled,unknown=disabled")
    assert done.stdout == "freed\nNone\n"


@pytest.mark.skipif(COUNTS, reason="CPython checks bounds from 3.14 on")
def test_and_is_the_twin_of_one_that_leaks(child):
    """The stack lies below the thread's own, and nothing is told."""
    done = child(RECURSE.format(before="pass", workload="containers"))
    assert done.stdout == "leaked\nNone\n"


@pytest.mark.skipif(COUNTS, reason="CPython checks bounds from 3.14 on")
def test_counted_still_bounds_python_frames(child):
    program = RECURSE.format(before=TELL, workload="add").replace(
        "WORKLOADS['add'].run()", "python_recursion()"
    )
    program = program.replace(
        "    def on_the_stack",
        """    def python_recursion():
        def deeper():
            return deeper()
        try:
            deeper()
        except RecursionError:
            return "RecursionError"

    def on_the_stack""",
    )
    assert child(program, STACKWARDEN="policy=counted").stdout == "RecursionError\nNone\n"
