"""The traceback of a runaway is that of the undecorated function: Python folds lines that repeat. Nothing of ours
is in any traceback, of coroutines neither."""

import io
import sys
import traceback
from functools import partial

import pytest

import stackwarden
from stackwarden import (
    deep_recursion,
    growing,
    precise_recursion_errors,
    stack_budget,
    sync_on_call,
)

DECORATORS = {
    "deep_recursion": deep_recursion(stack_size="64M", limit=5000),
    "growing": growing,
    "precise_recursion_errors": precise_recursion_errors,
    "stack_budget": stack_budget("1M"),
    "sync_on_call": sync_on_call,
}
FEW = 40  # lines: twice what a plain function's takes


def runaway(decorator):
    @decorator
    def runs_away(level):
        return runs_away(level + 1) + 1

    with pytest.raises(RecursionError) as found:
        runs_away(0)
    return found.value


def own_lines(error):
    """The names in the traceback below this file's, but for the innermost: there it was one call too many. On 3.11
    that may be several deep in ours: the limit is for all calls there."""
    frames = traceback.extract_tb(error.__traceback__)
    if sys.version_info >= (3, 12):
        frames.pop()
    while frames[-1].filename != __file__ and sys.version_info < (3, 12):
        frames.pop()
    return {frame.name for frame in frames} - {
        "runaway",
        "test_recursion_through_c_and_maybe_grow_folds_as_well",
    }


def names(found):
    """Those in the traceback of what pytest.raises() has caught."""
    return [frame.name for frame in traceback.extract_tb(found.value.__traceback__)]


@pytest.fixture(params=DECORATORS)
def error(request):
    return runaway(DECORATORS[request.param])


def test_it_folds_as_a_plain_functions_does(error):
    assert (
        len("".join(traceback.format_exception(runaway(lambda function: function))).splitlines())
        < FEW
    )
    lines = "".join(traceback.format_exception(error)).splitlines()
    assert len(lines) < 2 * FEW  # of precise_recursion_errors there are two
    assert any("more times" in line for line in lines)


def test_and_where_c_prints_it(error):
    if isinstance(error, stackwarden.RecursionOverflow):
        error = error.__cause__
    text = io.StringIO()
    stderr, sys.stderr = sys.stderr, text
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        sys.stderr = stderr
    assert len(text.getvalue().splitlines()) < FEW


def test_no_frame_of_ours_is_in_it(error):
    if isinstance(error, stackwarden.RecursionOverflow):
        error = error.__cause__
    assert own_lines(error) == {"runs_away"}


@pytest.mark.parametrize("call", [stackwarden.call_on_stack, stackwarden.maybe_grow])
def test_a_call_on_another_stack_is_no_line(call):
    def fail():
        raise KeyError("inside")

    with pytest.raises(KeyError) as found:
        call(fail)
    assert names(found) == ["test_a_call_on_another_stack_is_no_line", "fail"]


def test_recursion_through_c_and_maybe_grow_folds_as_well():
    def height(node):
        return 1 + max(map(partial(stackwarden.maybe_grow, height), [node]))

    with pytest.raises(RecursionError) as found:
        height(0)
    assert own_lines(found.value) == {"height"}


def test_a_refusal_points_at_the_callers_line():
    with pytest.raises(stackwarden.StackTooSmallError) as found:
        stackwarden.call_on_stack(len, (), stack_size=1)
    assert names(found) == ["test_a_refusal_points_at_the_callers_line"]


def test_a_runaway_in_a_coroutine_folds_and_shows_no_line_of_ours(adapter):
    def runs_away(level):
        return runs_away(level + 1) + 1

    with pytest.raises(RecursionError) as found:
        adapter.Coroutine(runs_away, 0).resume()
    here = "test_a_runaway_in_a_coroutine_folds_and_shows_no_line_of_ours"
    assert set(names(found)) == {here, "runs_away"}
    assert len(traceback.format_exception(found.value)) < FEW


def test_what_is_raised_in_coroutines_shows_both_sides_alone(adapter):
    def inner():
        adapter.suspend()
        raise KeyError("inside")

    def outer():
        list(adapter.Coroutine(inner))

    with pytest.raises(KeyError) as found:
        adapter.Coroutine(outer).resume()
    here = "test_what_is_raised_in_coroutines_shows_both_sides_alone"
    assert names(found) == [here, "outer", "inner"]


def test_what_is_thrown_in_too(adapter):
    def waits():
        adapter.suspend()

    made = adapter.Coroutine(waits)
    made.resume()
    with pytest.raises(KeyError) as found:
        made.throw(KeyError)
    assert names(found) == ["test_what_is_thrown_in_too", "waits"]


def test_a_coroutines_refusals_point_at_the_callers_line(adapter):
    made = adapter.Coroutine(int)
    made.resume()
    for refused in (
        made.resume,
        lambda: adapter.Coroutine("not callable"),
        lambda: adapter.Coroutine(int, stack_size=1),
        lambda: adapter.Coroutine(int, stack_size="1 megabyte"),
        lambda: adapter.suspend(),
    ):
        with pytest.raises((stackwarden.StackwardenError, TypeError)) as found:
            refused()
        python = {"refuse_unless_run", "size_of"}  # what says no in words is Python
        assert set(names(found)) - python <= {
            "test_a_coroutines_refusals_point_at_the_callers_line",
            "<lambda>",
        }
