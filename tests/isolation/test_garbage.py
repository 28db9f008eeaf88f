"""The garbage collector, while coroutines are suspended, and as the one who ends them."""

import gc
import sys
import weakref

import pytest
from stackwarden.adapters.ucontext import suspend

from stackwarden.errors import StackExit


class Node:
    """Something that may be part of a cycle."""

    def __init__(self, value=None):
        self.value = value
        self.itself = self


def hold_nodes(log=None):
    """Suspend with objects that only this frame refers to, in a cycle and out of it."""
    nodes, plain = [Node(number) for number in range(50)], [object() for _ in range(50)]
    for node, after in zip(nodes, [*nodes[1:], nodes[0]], strict=True):
        node.after = after
    values = [node.value for node in nodes]
    try:
        while True:
            suspend(weakref.ref(nodes[0]))
            assert [node.value for node in nodes] == values
            assert [node.after.value for node in nodes] == [*values[1:], values[0]]
            assert all(type(thing) is object for thing in plain)
    except StackExit:
        if log is not None:
            log.append("ended")
        raise


@pytest.fixture
def unfrozen():
    yield
    gc.unfreeze()


def test_what_suspended_frames_hold_is_no_garbage(coroutine):
    made = [coroutine(hold_nodes) for _ in range(20)]
    nodes = [one.resume() for one in made]
    for generation in (0, 1, 2, 2):
        gc.collect(generation)
        nodes += [one.resume() for one in made]
    assert all(node() is not None for node in nodes)
    for one in made:
        one.close()
    gc.collect()
    assert not any(node() for node in nodes)


def test_collections_inside_a_coroutine_leave_the_others_alone(coroutine):
    made = [coroutine(hold_nodes) for _ in range(20)]
    nodes = [one.resume() for one in made]
    for _ in range(3):
        coroutine(gc.collect).resume()
        coroutine(lambda: [Node() for _ in range(2000)] and None).resume()
    assert all(node() is not None for node in nodes)
    for one in made:
        one.resume()
        one.close()


def test_freezing_and_unfreezing_while_suspended(coroutine, unfrozen):
    made = [coroutine(hold_nodes) for _ in range(5)]
    nodes = [one.resume() for one in made]
    gc.freeze()
    more = [coroutine(hold_nodes) for _ in range(5)]
    for _ in range(3):
        for one in made + more:
            nodes.append(one.resume())
        gc.collect()
    for one in made:
        one.close()
    gc.unfreeze()
    for one in more:
        one.close()
    gc.collect()
    assert not any(node() for node in nodes)


def test_a_coroutine_in_a_cycle_is_ended_by_the_collector(coroutine):
    log = []
    node = Node()
    node.coroutine = coroutine(hold_nodes, log)
    node.coroutine.resume()
    dies = weakref.ref(node)
    del node
    gc.collect()
    assert log == ["ended"]
    assert dies() is None


def test_a_coroutine_that_is_ended_by_a_collection_inside_another(coroutine):
    log = []

    def make_garbage():
        node = Node()
        node.coroutine = coroutine(hold_nodes, log)
        node.coroutine.resume()

    def collect():
        make_garbage()
        try:
            raise KeyError
        except KeyError as error:
            gc.collect()
            return log, sys.exc_info()[1] is error

    assert coroutine(collect).resume() == (["ended"], True)


def test_a_destructor_of_garbage_may_suspend_the_collection(coroutine):
    """Others go on meanwhile; a second collection does not start, as with threads."""

    class Suspends:
        def __init__(self):
            self.itself = self

        def __del__(self):
            suspend("in the collection")

    def collect():
        Suspends()
        gc.collect()
        return "collected"

    made = coroutine(collect)
    assert made.resume() == "in the collection"
    other = coroutine(hold_nodes)
    other.resume()
    keep = [Node(number) for number in range(1000)]
    assert gc.collect() == 0
    other.resume()
    assert made.resume() == "collected"
    other.close()
    assert [node.value for node in keep] == list(range(1000))


def test_a_coroutine_that_its_own_frames_refer_to_lives_until_it_is_closed(coroutine):
    """The collector does not see what suspended frames refer to."""
    log = []

    def work(box):
        me = box.pop()
        try:
            suspend(lambda: me.close())  # noqa: F821 (deleted below)
        finally:
            log.append("ended")
            del me

    box = []
    made = coroutine(work, box)
    box.append(made)
    close = made.resume()
    del made
    gc.collect()
    assert log == []
    close()
    assert log == ["ended"]


def test_a_coroutine_can_be_referred_to_weakly(coroutine):
    made = coroutine(suspend)
    calls = []
    weak = weakref.ref(made, calls.append)
    made.resume()
    assert weak() is made
    del made
    assert weak() is None
    assert calls == [weak]


def test_weak_references_to_what_frames_hold_die_when_they_are_left(coroutine):
    made = coroutine(hold_nodes)
    node = made.resume()
    proxy = weakref.WeakSet([node()])
    gc.collect()
    assert len(proxy) == 1
    made.close()
    gc.collect()
    assert len(proxy) == 0


def test_a_coroutine_is_no_garbage_while_it_runs(coroutine):
    def work():
        gc.collect()
        return [hold.resume() for hold in holders] and "end"

    holders = [coroutine(hold_nodes)]

    def start():
        return coroutine(work, stack_size=1 << 20).resume()

    assert start() == "end"
    holders.pop().close()
