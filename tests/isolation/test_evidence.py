"""What was told is believed only where the stack pointer does not contradict it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from stackwarden import notify_stack_switch, on_stack

MIB = 1 << 20
SMALL = 48  # bytes: no stack so small can be protected


def stay():
    suspend()


def tell_of_a_small_one(base):
    try:
        notify_stack_switch(base, SMALL)
    except stackwarden.StackTooSmallError:
        return
    raise AssertionError("48 bytes were taken for a stack")


@pytest.mark.usefixtures("unchecked")
def test_each_of_two_that_told_of_the_same_stack_goes_on_with_its_own_frames(coroutine, memory):
    with stackwarden.register_stack(memory(), MIB) as stack:

        def told(name):
            own = [name] * 3
            notify_stack_switch(stack)
            suspend(name)
            stackwarden.sync_stack()
            return own

        both = [coroutine(told, name) for name in ("one", "two")]
        assert [each.resume() for each in both] == ["one", "two"]
        assert [each.resume() for each in both] == [["one"] * 3, ["two"] * 3]
        assert stack.thread is None


def test_each_of_two_inside_on_stack_goes_on_with_its_own_frames(coroutine, memory):
    native = stackwarden.current_stack()
    with stackwarden.register_stack(memory(), MIB) as stack:

        def inside(name):
            own = [name] * 3
            with on_stack(stack):
                suspend(name)
            return own

        both = [coroutine(inside, name) for name in ("one", "two")]
        assert [each.resume() for each in both] == ["one", "two"]
        assert [each.resume() for each in both] == [["one"] * 3, ["two"] * 3]
        assert stackwarden.current_stack() == native


def test_a_coroutine_is_suspended_inside_on_stack_while_others_use_the_stack(coroutine, memory):
    native = stackwarden.current_stack()
    with stackwarden.register_stack(memory(), MIB) as stack:

        def inside():
            with on_stack(stack):
                suspend()
            return stackwarden.current_stack().top

        suspended = coroutine(inside)
        suspended.resume()
        assert stackwarden.current_stack() == native
        with on_stack(stack):
            assert stackwarden.current_stack() == stack
        assert stackwarden.current_stack() == native
        assert suspended.resume() not in (stack.top, native.top)
        assert stackwarden.current_stack() == native


def test_a_block_that_a_coroutine_is_suspended_in_does_not_end_up_around_others(coroutine, memory):
    native = stackwarden.current_stack()
    with (
        stackwarden.register_stack(memory(), MIB) as one,
        stackwarden.register_stack(memory(), MIB) as other,
    ):

        def inside():
            with on_stack(one):
                suspend()

        suspended = coroutine(inside)
        suspended.resume()
        with on_stack(other):
            pass
        assert stackwarden.current_stack() == native
        suspended.resume()


def test_a_refused_switch_inside_on_stack_leaves_no_bounds_behind(memory, effective_bounds):
    """It has found the thread on another stack than the named one, and the end of the block changes nothing."""
    stackwarden.sync_stack()
    native, before = stackwarden.current_stack(), effective_bounds()
    others = Coroutine(stay)
    with ThreadPoolExecutor(1) as other, stackwarden.register_stack(memory(), MIB) as stack:
        other.submit(others.resume).result()
        with on_stack(stack), pytest.raises(stackwarden.OtherThreadError):
            others.resume()
        assert stackwarden.current_stack() == native
        after = effective_bounds()
        assert all(
            abs(after[key] - before[key]) < 30 for key in before
        )  # 3.13 and earlier count calls
        other.submit(others.close).result()


@pytest.mark.usefixtures("unchecked")
def test_frames_are_seen_after_sizes_that_were_refused(coroutine, memory):
    base = memory()

    def inside():
        tell_of_a_small_one(base + MIB // 2)
        suspend()

    suspended = coroutine(inside)
    suspended.resume()
    tell_of_a_small_one(base)
    suspended = coroutine(inside)  # the first one ends
    frames = [stack.frame for stack in stackwarden.stacks()]
    assert not any(frames)
    stackwarden.reset_stack()


def test_an_estimate_stays_one(coroutine, memory):
    base = memory()
    tell_of_a_small_one(base)
    coroutine(lambda: None).resume()
    assert stackwarden.current_stack().bounds_from != "told"
    tell_of_a_small_one(base)
    found = stackwarden.current_stack()
    assert found.bounds_from == "estimate"
    assert notify_stack_switch(found.base, found.size).bounds_from == "estimate"
    stackwarden.reset_stack()


CONTESTED = """
    import capi_probe
    capi_probe.import_table()
    MIB = 1 << 20
    stack = stackwarden.register_stack(capi_probe.map_memory(MIB), MIB)

    def lie():
        stackwarden.notify_stack_switch(stack)
        suspend("suspended")

    def body():
        capi_probe.call_on(capi_probe.map_memory(MIB), MIB, lie)

    both = [coroutine(body), coroutine(body)]
    print(*[each.resume() for each in both])
    for each in both:
        try:
            each.resume()
        except stackwarden.IsolationRequiredError:
            print("refused")
        try:
            each.close()
        except stackwarden.errors.CoroutineError:
            print("leaked")
        except stackwarden.IsolationRequiredError:
            print("refused")
"""


@pytest.mark.usefixtures("unchecked")
def test_a_stack_that_two_chains_told_of_is_nobodys(child, mode):
    """Neither is on it, nor on any stack that is known: whose frames these are cannot be told."""
    import textwrap

    from conftest import PRELUDE

    done = child(PRELUDE.format(mode=mode) + textwrap.dedent(CONTESTED))
    assert done.stdout.split() == ["suspended", "suspended"] + ["refused", "refused"] * 2
