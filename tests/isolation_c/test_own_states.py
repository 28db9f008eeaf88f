"""What CPython itself does with several thread states on one operating-system thread.

Nothing here is ours to mend; the core is built on it, and each line says what it would have to know.
"""

import signal
import sys

import pytest

HUNG = 1  # the status of a child that faulthandler ended because it did not go on


@pytest.mark.parametrize("reattaches", [True, False])
def test_ensure_in_a_state_that_another_thread_had_attached_before(fiber_child, reattaches):
    """It keeps the attached state if the other thread attached its own afterwards."""
    program = f"""
        import faulthandler
        faulthandler.dump_traceback_later(5, exit=True)
        print(ensure_after_move({reattaches}))
    """
    if reattaches:
        assert fiber_child(program) == ["True"]
    elif sys.version_info < (3, 13):
        fiber_child(program, ends=HUNG)
    else:
        fiber_child(program, ends=-signal.SIGABRT)


@pytest.fixture
def on_a_foreign_stack(fibers):
    """on_a_foreign_stack(function): its result there, each kind of isolation tried."""

    def results(function):
        found = []
        for isolation in ("none", "frames", "thread-state"):
            fiber = fibers.Fiber(fibers.Stack(isolation=isolation), lambda _: function())
            fiber.resume()
            found.append(fiber.result)
        return found

    return results


def test_making_and_clearing_a_state_leaves_the_attached_ones_bounds_alone(
    fibers, effective_bounds, on_a_foreign_stack
):
    """PyThreadState_New, PyThreadState_Clear."""

    def look():
        before = effective_bounds()
        fibers.make_and_clear_state()
        return before == effective_bounds()

    assert on_a_foreign_stack(look) == [True] * 3


def test_attaching_and_clearing_another_state_leaves_the_former_ones_bounds_alone(
    fibers, effective_bounds, on_a_foreign_stack
):
    def look():
        before = effective_bounds()
        fibers.in_new_state(effective_bounds)
        return before == effective_bounds()

    assert on_a_foreign_stack(look) == [True] * 3


def test_a_new_state_gets_the_native_stacks_bounds_when_it_is_first_attached(
    fibers, effective_bounds, on_a_foreign_stack
):
    """Wherever that happens: on a foreign stack they are wrong, until somebody tells or syncs."""
    native = fibers.in_new_state(effective_bounds)
    assert on_a_foreign_stack(lambda: fibers.in_new_state(effective_bounds)) == [native] * 3


def test_the_core_tells_a_state_of_a_stacks_own_the_bounds_of_that_stack(fibers, effective_bounds):
    stack = fibers.Stack(isolation="thread-state")
    fiber = fibers.Fiber(stack, lambda _: effective_bounds())
    fiber.resume()
    told = fibers.Fiber(fibers.Stack(stack.size), lambda _: effective_bounds())
    told.resume()
    if sys.version_info >= (3, 14):
        margin = fiber.result["soft"] - fiber.result["hard"]
        assert fiber.result["top"] == stack.base + stack.size
        assert fiber.result["hard"] == stack.base + margin
    else:
        assert abs(fiber.result["remaining"] - told.result["remaining"]) <= 3


def test_ensure_on_a_fiber_keeps_the_attached_state(fibers, isolation):
    """With "frames" it is the thread's, with "thread-state" the stack's own."""
    fiber = fibers.Fiber(
        fibers.Stack(isolation=isolation),
        lambda _: (fibers.state_id(), fibers.ensured(fibers.state_id)),
    )
    fiber.resume()
    inside, ensured = fiber.result
    assert inside == ensured
    assert (inside == fibers.state_id()) == (isolation == "frames")
    assert fibers.ensured(fibers.state_id) == fibers.state_id()
