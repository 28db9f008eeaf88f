"""Calls in use: a sync, a budget or a nested call inside a coroutine forgets none of those under it.

Where CPython counts calls, a stack whose calls were counted anew would be overrun: SIGSEGV instead of
RecursionError.
"""

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden

STACK = 1 << 20


pytestmark = pytest.mark.usefixtures("high_limit")


def with_a_budget():
    with stackwarden.stack_budget(256 << 10):
        pass


def on_another_stack():
    stackwarden.call_on_stack(int, stack_size=STACK)


def with_other_coroutines():
    """More thread states than one thread has counters for."""
    made = [Coroutine(suspend, isolation=stackwarden.current_stack().isolation) for _ in range(8)]
    for one in made:
        one.resume()
    for one in made:
        one.close()


def levels(every, interrupt):
    """How deep C recursion gets with an interruption at some depths."""
    reached = 0

    class Deep:
        def __add__(self, other):
            nonlocal reached
            reached += 1
            if every and reached % every == 0:
                interrupt()
            return self + other

    with pytest.raises(RecursionError):
        Deep() + 1
    return reached


@pytest.mark.parametrize(
    "interrupt",
    [stackwarden.sync_stack, with_a_budget, on_another_stack, with_other_coroutines, suspend],
)
@pytest.mark.parametrize("every", [50, 100])
def test_an_interruption_forgets_no_calls(coroutine, interrupt, every):
    def deepest(every):
        made = coroutine(levels, every, interrupt, stack_size=STACK)
        result = made.resume()
        while result is None:
            result = made.resume()
        return result

    undisturbed = deepest(0)
    # What interrupts makes calls of its own, the last of them perhaps too many.
    assert undisturbed - 60 <= deepest(every) <= undisturbed + 2


def test_both_isolations_get_as_deep(coroutine):
    made = coroutine(levels, 20, stackwarden.sync_stack, stack_size=STACK)
    other = Coroutine(levels, 0, None, stack_size=STACK)
    assert abs(made.resume() - other.resume()) <= 2
