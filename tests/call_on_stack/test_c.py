"""The C functions: attached, detached, and in a thread that Python never saw."""

from pathlib import Path
from typing import NamedTuple

import pytest

import extensions
import stackwarden

KIB = 1024
MIB = 1024 * KIB
DONE, UNKNOWN_STACK, LOST, BAD_RANGE, TOO_SMALL = 0, 1, 2, -5, -8


class Call(NamedTuple):
    """What a function saw that was called, and its caller afterwards."""

    status: int
    base: int
    size: int
    pooled: int
    pointer: int
    attached: bool
    base_afterwards: int


@pytest.fixture(scope="session")
def stack_calls():
    path = extensions.build([Path(__file__).parent / "stack_calls.c"], "stack_calls")
    return extensions.load(path)


@pytest.fixture(params=["attached", "detached", "new thread"])
def make(request, stack_calls):
    """make(least, size): call a function; least 0: on another stack in any case."""
    return lambda least, size: Call(*stack_calls.make(request.param, least, size))


@pytest.mark.parametrize("size", [128 * KIB, MIB, MIB + 1, 64 * MIB])
def test_the_function_runs_on_a_stack_of_the_size_or_more(make, size):
    call = make(0, size)
    assert call.status == DONE
    assert call.base <= call.pointer < call.base + call.size
    assert call.size >= size
    assert call.pooled


def test_the_bounds_are_the_callers_afterwards(stack_calls):
    native = stackwarden.sync_stack().base
    for how in ("attached", "detached"):
        assert Call(*stack_calls.make(how, 0, MIB)).base_afterwards == native


def test_the_function_is_attached_as_its_caller_is(stack_calls):
    seen = [
        Call(*stack_calls.make(how, 0, MIB)).attached for how in ("attached", "detached", "new")
    ]
    assert seen == [True, False, False]


def test_in_place_where_there_is_room(make):
    call = make(64 * KIB, 64 * MIB)
    assert call.status == DONE
    assert not call.pooled
    assert call.base == call.base_afterwards


def test_on_another_stack_where_there_is_not(make):
    call = make(1 << 30, 1 << 20)
    assert call.status == DONE
    assert call.pooled
    assert call.size >= 1 << 30


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ("", None),
        ("min-stack=64K,stack-size=2M", None),
        ("min-stack=1G,stack-size=2M", 1 << 30),
        ("min-stack=256M,stack-size=512M", 512 * MIB),
    ],
)
def test_where_the_caller_says_no_sizes_the_settings_do(stack_calls, child, settings, size):
    done = child(
        f"""
        import sys
        sys.path.append({str(Path(stack_calls.__file__).parent)!r})
        import stack_calls
        status, base, size, pooled, *_ = stack_calls.by_settings()
        print(status, size if pooled else None)
        """,
        STACKWARDEN=settings,
    )
    assert done.stdout == f"{DONE} {size}\n"


def test_what_is_refused_is_not_called(make):
    for size, status in [(0, BAD_RANGE), ((1 << 40) + 1, BAD_RANGE), (4 * KIB, TOO_SMALL)]:
        call = make(0, size)
        assert (call.status, call.pointer) == (status, 0)


def test_backtrace_sees_the_callers_frames_below_the_function(stack_calls):
    same, outside = stack_calls.compare_traces()
    assert outside > 5
    assert same >= outside - 2  # the innermost differ: they are at other places of their functions


def test_writing_below_the_stack_ends_the_process(stack_calls, child):
    program = f"""
        import sys
        sys.path.insert(0, {str(Path(stack_calls.__file__).parent)!r})
        import stackwarden, stack_calls
        stack_calls.overrun()
    """
    child(program, ends=-11)


def test_a_stack_that_is_kept_is_not_used_again(stack_calls):
    size = 7 * MIB
    base = Call(*stack_calls.make("attached", 0, size)).base
    assert stack_calls.retain(size) == (UNKNOWN_STACK, DONE, LOST)
    assert Call(*stack_calls.make("attached", 0, size)).base != base
    assert base in {stack.base for stack in stackwarden.stacks()}
