"""Coroutines with isolation "frames" whose last reference goes on another thread: their own ends them, later."""

import gc
import threading

import pytest
import stackwarden.adapters.ucontext
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from forks import IN_CHILD
from stackwarden.errors import CoroutineError
from stackwarden.testing.child import in_thread


def leaked():
    return stackwarden.status()["leaked_stacks"]


def drop_elsewhere(function, *arguments, adapter=stackwarden.adapters.ucontext):
    """Start a coroutine, and drop its last reference on another thread."""
    box = [adapter.Coroutine(function, *arguments)]
    box[0].resume()
    in_thread(box.clear)


def test_they_are_ended_on_their_own_thread(adapter):
    log = []

    def stay(number):
        try:
            adapter.suspend()
        finally:
            log.append((number, threading.get_ident()))

    before = leaked()
    for number in range(100):
        drop_elsewhere(stay, number, adapter=adapter)
    list(adapter.Coroutine(adapter.suspend))
    assert log == [(number, threading.get_ident()) for number in range(100)]
    assert leaked() == before


def stay(log):
    try:
        suspend()
    finally:
        log.append(threading.get_ident())


def test_each_call_of_the_adapter_ends_them():
    other, outer = Coroutine(suspend), Coroutine(lambda: [suspend(), suspend()])
    outer.resume()

    def inside(log):
        drop_elsewhere(stay, log)
        try:
            suspend("here")
        finally:
            assert log

    calls = {
        "make": lambda: Coroutine(int),
        "start": other.resume,
        "resume": outer.resume,
        "throw": lambda: pytest.raises(KeyError, outer.throw, KeyError),
        "close": other.close,
        "close what is done": outer.close,
    }
    for name, call in calls.items():
        log = []
        drop_elsewhere(stay, log)
        assert log == []
        call()
        assert log == [threading.get_ident()], name
    log = []
    assert next(Coroutine(inside, log)) == "here"
    assert log == [threading.get_ident()]


def test_the_collector_drops_them_on_any_thread():
    class Node:
        pass

    log, node = [], Node()
    node.itself, node.made = node, Coroutine(stay, log)
    node.made.resume()
    gc.disable()
    try:
        del node
        in_thread(gc.collect)
    finally:
        gc.enable()
    assert log == []
    Coroutine(int).resume()
    assert log == [threading.get_ident()]


def test_a_thread_that_ends_ends_its_own():
    log, box = [], []
    started, dropped = threading.Event(), threading.Event()

    def live():
        box.append(Coroutine(stay, log))
        box[0].resume()
        started.set()
        dropped.wait()
        log.append("the thread ends")

    thread = threading.Thread(target=live)
    thread.start()
    started.wait()
    box.clear()
    assert log == []
    ident = thread.ident
    dropped.set()
    thread.join()
    assert log == ["the thread ends", ident]


def test_those_of_a_thread_that_is_gone_are_leaked_and_counted(quiet_child):
    printed = quiet_child(
        """
        def work():
            try:
                suspend()
            finally:
                print("unwound")

        def start():
            box.extend(coroutine(work) for _ in range(3))
            for made in box:
                made.resume()

        box = []
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        box.pop()
        print(stackwarden.status()["leaked_stacks"])
        box.clear()
        for _ in range(3):
            coroutine(int).resume()
        print(stackwarden.status()["leaked_stacks"])
        """
    )
    assert printed == "1\n3\n"


def test_exceptions_of_theirs_are_reported(monkeypatch):
    reports = []
    monkeypatch.setattr("sys.unraisablehook", lambda report: reports.append(report))

    def work():
        try:
            suspend()
        finally:
            raise KeyError("while it ended")

    drop_elsewhere(work)
    assert reports == []
    made = Coroutine(suspend)
    made.resume()
    (report,) = reports
    assert report.exc_value.args == ("while it ended",)
    assert isinstance(report.object, Coroutine)
    assert report.object.done
    reports.clear()
    made.close()


def test_one_that_suspends_again_and_again_is_leaked(quiet_child):
    printed = quiet_child(
        """
        def stubborn():
            while True:
                try:
                    suspend()
                except BaseException:
                    pass

        box = [coroutine(stubborn)]
        box[0].resume()
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()
        print(stackwarden.status()["leaked_stacks"])
        for _ in range(3):
            coroutine(int).resume()
        print(stackwarden.status()["leaked_stacks"])
        """
    )
    assert printed == "0\n1\n"


def test_they_are_ended_one_after_the_other():
    """What one does while it ends does not end the next one inside of it."""
    depth, depths = [], []

    def work():
        try:
            suspend()
        finally:
            depth.append(1)
            depths.append(len(depth))
            assert list(Coroutine(suspend, "inside")) == ["inside"]
            depth.pop()

    for _ in range(50):
        drop_elsewhere(work)
    Coroutine(int).resume()
    assert depths == [1] * 50


def test_those_that_are_dropped_meanwhile_wait_for_the_next_call():
    ended = []

    def work(generation):
        try:
            suspend()
        finally:
            ended.append(generation)
            if generation < 5:
                drop_elsewhere(work, generation + 1)

    drop_elsewhere(work, 0)
    for generation in range(7):
        assert ended == list(range(min(generation, 6)))
        Coroutine(int)


def test_one_may_close_the_coroutine_that_is_about_to_be_resumed():
    made = Coroutine(suspend)
    made.resume()

    def work():
        try:
            suspend()
        finally:
            made.close()

    drop_elsewhere(work)
    with pytest.raises(CoroutineError, match="cannot be resumed"):
        made.resume()
    assert made.done


def test_a_refused_close_leaves_the_coroutine_as_it_was():
    log = []
    made = Coroutine(stay, log)
    made.resume()
    with pytest.raises(stackwarden.OtherThreadError):
        in_thread(made.close)
    assert (made.done, log) == (False, [])
    made.close()
    assert log == [threading.get_ident()]


def test_they_end_in_a_switch_callback():
    log, seen = [], []

    def callback(old, new):
        if not seen:
            seen.append(1)
            drop_elsewhere(stay, log)
            Coroutine(int).resume()

    stackwarden.register_switch_callback(callback)
    try:
        Coroutine(int).resume()
    finally:
        stackwarden.unregister_switch_callback(callback)
    assert log == [threading.get_ident()]


FORKED = (
    IN_CHILD
    + """
    def work(name):
        try:
            suspend()
        finally:
            print(name, "ended", flush=True)

    def dropped(name):
        box = [coroutine(work, name)]
        box[0].resume()
        thread = threading.Thread(target=box.clear)
        thread.start()
        thread.join()

    def leaked():
        return stackwarden.status()["leaked_stacks"]
"""
)


def test_in_the_child_of_a_fork_the_thread_that_forked_ends_its_own(quiet_child):
    printed = quiet_child(
        FORKED
        + """
    dropped("mine")
    assert in_child(lambda: coroutine(int).resume()) == 0
    print("parent")
    coroutine(int).resume()
    """
    )
    assert printed == "mine ended\nparent\nmine ended\n"


def test_in_the_child_of_a_fork_those_of_other_threads_are_leaked_and_counted(quiet_child):
    printed = quiet_child(
        FORKED
        + """
    waiting, go, box = threading.Event(), threading.Event(), []

    def live():
        box.append(coroutine(work, "later"))
        box[0].resume()
        dropped("other")
        waiting.set()
        go.wait()

    def look():
        coroutine(int).resume()
        box.clear()
        coroutine(int).resume()
        print(leaked(), flush=True)

    thread = threading.Thread(target=live)
    thread.start()
    waiting.wait()
    assert in_child(look) == 0
    box.clear()
    go.set()
    thread.join()
    print(leaked())
    """
    )
    assert printed == "2\nother ended\nlater ended\n0\n"


def test_what_waits_at_exit_stays_as_it_is(quiet_child):
    printed = quiet_child(
        FORKED
        + """
    dropped("main")
    """
    )
    assert printed == ""


if "thread-state" in stackwarden.status()["isolation"]:

    def test_a_stack_on_another_thread_ends_none_of_its_makers():
        """A thread state of its own has the dict of the thread that made it."""
        log, results = [], []
        mover = Coroutine(lambda: list(Coroutine(suspend, suspend())), isolation="thread-state")
        mover.resume()
        drop_elsewhere(stay, log)
        before = leaked()
        in_thread(lambda: results.append(mover.resume("moved")))
        assert (results, log, leaked()) == ([["moved"]], [], before)
        Coroutine(int)
        assert log == [threading.get_ident()]


def test_a_crowd_of_threads_drops_each_others():
    ended, started = [], []
    others = [[] for _ in range(4)]
    barrier = threading.Barrier(4)

    def work(owner):
        started.append(owner)
        try:
            suspend()
        finally:
            ended.append((owner, threading.get_ident()))

    def live(number):
        barrier.wait()  # identifiers of threads are used again
        for _ in range(50):
            made = Coroutine(work, threading.get_ident())
            made.resume()
            others[(number + 1) % 4].append(made)
            del made
            others[number].clear()
        barrier.wait()
        others[number].clear()
        barrier.wait()

    threads = [threading.Thread(target=live, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == len(started) == 200
    assert all(owner == ender for owner, ender in ended)
