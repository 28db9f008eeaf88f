"""Greenlets that begin inside call_on_stack: the call refuses to return while they are alive."""

import gc

import pytest

import children
import stackwarden
from availability import unavailable
from stackwarden import call_on_stack, maybe_grow

try:
    import greenlet
except ImportError as error:
    unavailable("greenlet", str(error))

MIB = 1 << 20


def waiting():
    """A greenlet that is begun, and goes on when it is switched to."""
    main = greenlet.getcurrent()

    def work():
        main.switch()
        return "over"

    begun = greenlet.greenlet(work)
    begun.switch()
    return begun


def test_a_greenlet_that_ends_inside_is_nobodys_business():
    def body():
        return stackwarden.sync_stack().name, greenlet.getcurrent().parent.switch()

    def work():
        one = greenlet.greenlet(body)
        one.switch()
        return one.switch("end")

    assert call_on_stack(work, stack_size=2 * MIB) == ("call_on_stack", "end")
    assert stackwarden.sync_stack().bounds_from == "native"


def test_the_call_refuses_to_return_while_one_is_alive_and_its_stack_stays():
    def work():
        alive.append(waiting())
        return stackwarden.current_stack()

    alive, leaked = [], stackwarden.status()["leaked_stacks"]
    with pytest.raises(stackwarden.StackLeftInUseError, match=r"1 greenlets.* are alive"):
        call_on_stack(work, stack_size=5 * MIB)
    assert stackwarden.status()["leaked_stacks"] == leaked + 1
    others = [call_on_stack(stackwarden.current_stack, stack_size=5 * MIB) for _ in range(20)]
    assert len({stack.base for stack in others}) == 1
    assert alive[0].switch() == "over"
    assert alive[0].dead


def test_what_the_function_raised_is_the_cause():
    def work():
        alive.append(waiting())
        raise KeyError("inside")

    alive = []
    with pytest.raises(stackwarden.StackLeftInUseError) as caught:
        call_on_stack(work)
    assert isinstance(caught.value.__cause__, KeyError)
    alive[0].switch()


def test_one_that_nobody_refers_to_is_ended_first():
    def work():
        dropped = waiting()
        cycle = [waiting()]
        cycle.append(cycle)
        del dropped

    call_on_stack(work)


def test_it_refuses_from_the_innermost_call_on():
    def inner():
        alive.append(waiting())

    def outer():
        with pytest.raises(stackwarden.StackLeftInUseError):
            call_on_stack(inner, stack_size=2 * MIB)
        return "goes on"

    alive = []
    assert call_on_stack(outer) == "goes on"
    alive[0].switch()


def test_greenlets_that_began_before_are_not_meant():
    before = waiting()
    assert call_on_stack(lambda: 1) == 1
    assert before.switch() == "over"


def test_a_call_in_place_sets_no_tracer():
    assert maybe_grow(greenlet.gettrace) is None


def test_a_tracer_that_was_set_is_called_and_stays():
    def tracer(event, pair):
        events.append((event, stackwarden.sync_stack().name))

    def work():
        greenlet.greenlet(int).switch()

    events = []
    former = greenlet.settrace(tracer)
    try:
        call_on_stack(work)
        assert greenlet.gettrace() is tracer
    finally:
        greenlet.settrace(former)
    assert events == [("switch", "call_on_stack")] * 2


def test_the_same_with_the_adapter_installed(child):
    done = child("""
        import greenlet
        import stackwarden
        from stackwarden import adapters

        adapters.install("greenlet")
        main = greenlet.getcurrent()

        def begin():
            one = greenlet.greenlet(lambda: (main.switch(), stackwarden.sync_stack().name))
            one.switch()
            alive.append(one)

        alive = []
        try:
            stackwarden.call_on_stack(begin)
        except stackwarden.StackLeftInUseError as error:
            print("refused")
        print(greenlet.gettrace(), alive[0].switch(), stackwarden.sync_stack().bounds_from)
    """)
    assert done.stdout.splitlines() == ["refused", "None ((), 'call_on_stack') native"]


def test_nothing_is_left_behind():
    def work():
        one = waiting()
        one.switch()

    call_on_stack(work)
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(300):
        call_on_stack(work)
    gc.collect()
    assert len(gc.get_objects()) - before < 50


CROSSING = """
    import resource, sys
    import greenlet
    import stackwarden
    from stackwarden import adapters

    if sys.argv[1] == "adapter":
        adapters.install("greenlet")
    main = greenlet.getcurrent()

    def outside():
        while True:
            main.switch("outside")

    def hub():
        return main.switch("from a call")

    def refused(*switches):
        for switch in switches:
            try:
                print(switch())
            except stackwarden.IsolationRequiredError as error:
                print("refused")

    def allow_no_large_copies():
        in_use = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, [in_use + (32 << 20)] * 2)

    def inside():
        allow_no_large_copies()
        refused(other.switch, other.throw, lambda: greenlet.greenlet(lambda: 1, other).switch())
        new = greenlet.greenlet(lambda: (refused(other.switch), main.switch("new"), "end")[2])
        print(new.switch(), new.switch())
        dead = greenlet.greenlet(lambda: "dead")
        print(dead.switch(), dead.switch())

    other = greenlet.greenlet(outside)
    other.switch()
    stackwarden.call_on_stack(inside)
    worker = greenlet.greenlet(lambda: stackwarden.call_on_stack(refused, hub))
    worker.switch()
    print(other.switch(), stackwarden.sync_stack().bounds_from)
"""


def test_with_the_adapter_a_switch_out_of_the_call_is_refused(child):
    done = child(CROSSING, arguments=["adapter"])
    assert done.stdout.split("\n") == [
        "refused", "refused", "refused", "refused", "new end", "dead ()", "refused", "outside native", "",
    ]  # fmt: skip


def test_without_it_greenlet_ends_the_process(child):
    """The unprotected twin. greenlet copies all that lies between the two stacks, and aborts where there is no
    memory for that; where there is, the copying is a SIGSEGV."""
    child(CROSSING, arguments=["none"], ends=-6)


# ---- the tracer: one for each thread, however many calls there are ----


def suspended_in_a_call():
    from stackwarden.adapters.ucontext import Coroutine, suspend

    coroutine = Coroutine(lambda: call_on_stack(suspend, 1))
    coroutine.resume()
    return coroutine


def ours():
    from stackwarden._greenlets import Tracer

    return isinstance(greenlet.gettrace(), Tracer)


def switch():
    assert greenlet.greenlet(lambda: "over").switch() == "over"


@pytest.fixture
def no_tracer():
    greenlet.settrace(None)
    yield
    assert greenlet.gettrace() is None
    gc.collect()
    assert not stackwarden._greenlets._tracers


ORDERS = [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)]


@pytest.mark.parametrize("order", ORDERS)
def test_calls_that_overlap_end_in_any_order_and_leave_no_tracer(no_tracer, order):
    for _ in range(20):
        calls = [suspended_in_a_call() for _ in order]
        assert ours()
        for number in order:
            assert ours()
            calls[number].resume()
        assert greenlet.gettrace() is None


@pytest.mark.parametrize("order", ORDERS)
def test_a_tracer_from_before_is_called_once_for_each_switch_and_stays(no_tracer, order):
    events = []

    def mine(event, pair):
        events.append(event)

    greenlet.settrace(mine)
    calls = [suspended_in_a_call() for _ in order]
    for number in order:
        switch()
        calls[number].resume()
    assert greenlet.settrace(None) is mine
    assert events == ["switch"] * 6


@pytest.mark.parametrize("passes_on", [True, False])
def test_a_tracer_that_is_set_meanwhile_stays_too(no_tracer, passes_on):
    events = []
    first, second = suspended_in_a_call(), suspended_in_a_call()

    def mine(event, pair):
        events.append(event)
        if passes_on and former is not None:
            former(event, pair)

    former = greenlet.settrace(mine)
    first.resume()
    third = suspended_in_a_call()
    switch()
    second.resume()
    switch()
    third.resume()
    assert greenlet.gettrace() is mine
    switch()
    assert events == ["switch"] * 6
    greenlet.settrace(former)  # ours, which has nothing to do any more
    switch()


def test_a_tracer_that_passes_on_is_covered_by_the_same_one_each_time(no_tracer):
    """And the number of ours does not grow."""

    def mine(event, pair):
        seen.append(len(stackwarden._greenlets._tracers))
        if former is not None:
            former(event, pair)

    seen, former = [], None
    outer = suspended_in_a_call()
    former = greenlet.settrace(mine)
    for _ in range(1500):  # more than the recursion limit allows if they piled up
        inner = suspended_in_a_call()
        switch()
        inner.resume()
        assert greenlet.gettrace() is mine
    outer.resume()
    greenlet.settrace(former)
    assert greenlet.gettrace() is former
    switch()
    assert set(seen) == {1}


def test_one_of_ours_that_somebody_kept_is_set_in_vain(no_tracer):
    call = suspended_in_a_call()
    kept = greenlet.gettrace()
    call.resume()
    for _ in range(2):
        greenlet.settrace(kept)
        switch()
        assert greenlet.gettrace() is None
    greenlet.settrace(kept)
    suspended_in_a_call().resume()


def test_greenlets_are_seen_below_a_tracer_that_passes_on(no_tracer):
    def mine(event, pair):
        if former is not None:
            former(event, pair)

    def work():
        nonlocal former
        former = greenlet.settrace(mine)
        alive.append(waiting())

    alive, former = [], None
    with pytest.raises(stackwarden.StackLeftInUseError):
        call_on_stack(work)
    greenlet.settrace(None)
    alive[0].switch()
    former = None


def test_each_thread_has_its_own(no_tracer):
    import threading

    def work():
        for _ in range(50):
            first, second = suspended_in_a_call(), suspended_in_a_call()
            first.resume()
            second.resume()
            found.append(greenlet.gettrace())

    found, here = [], suspended_in_a_call()
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [None] * 200
    assert ours()
    here.resume()


@pytest.mark.skipif(
    "thread-state" not in stackwarden.status()["isolation"], reason="cannot be had on 3.11"
)
def test_a_call_that_ends_on_another_thread_leaves_none_behind(no_tracer):
    import threading

    from stackwarden.adapters.ucontext import Coroutine, suspend

    coroutine = Coroutine(lambda: call_on_stack(suspend, 1), isolation="thread-state")
    coroutine.resume()
    thread = threading.Thread(target=coroutine.resume)
    thread.start()
    thread.join()
    assert coroutine.done
    switch()


def test_a_call_keeps_no_greenlet_alive_that_is_gone_when_it_ends():
    """Dropped on the other stack, a suspended one would be ended from there, which greenlet cannot."""
    done = children.run_python("""
        import greenlet
        from stackwarden import call_on_stack
        from stackwarden.adapters.ucontext import Coroutine, suspend

        def work():
            coroutine.resume()
            try:
                main.switch()
            finally:
                print("the greenlet ends")

        main = greenlet.getcurrent()
        for _ in range(3):
            coroutine = Coroutine(lambda: call_on_stack(suspend))
            one = greenlet.greenlet(work)
            one.switch()
            del one
            coroutine.resume()
            print(coroutine.done)
    """)
    assert done.stdout == "the greenlet ends\nTrue\n" * 3
