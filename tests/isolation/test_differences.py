"""Where a coroutine is no thread: these things belong to the thread under it. docs/isolation.md."""

import _thread
import contextvars
import decimal
import importlib
import reprlib
import sys
import threading

from stackwarden.adapters.ucontext import suspend

LOCAL = threading.local()


def test_reentrant_locks_belong_to_the_thread(coroutine):
    lock = threading.RLock()

    def work():
        with lock:
            suspend()

    made = [coroutine(work) for _ in range(3)]
    for one in made:
        one.resume()  # all three hold it now
    assert lock.acquire(blocking=False)
    lock.release()
    for one in made:
        one.resume()


def test_plain_locks_are_held_by_whoever_took_them(coroutine):
    """To wait for one that a suspended coroutine holds is to wait forever."""
    lock = _thread.allocate_lock()

    def work():
        with lock:
            suspend()

    made = coroutine(work)
    made.resume()
    assert not coroutine(lock.acquire, False).resume()
    made.resume()
    assert not lock.locked()


def test_the_import_lock_of_a_module_belongs_to_the_thread(coroutine, tmp_path, monkeypatch):
    """A module that is half imported in one coroutine is seen half made by another."""
    name = "half_imported_by_a_coroutine"
    (tmp_path / f"{name}.py").write_text(
        "from stackwarden.adapters.ucontext import suspend\nfirst = 1\nsuspend()\nsecond = 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = coroutine(importlib.import_module, name)
    made.resume()
    seen = importlib.import_module(name)
    assert seen.first == 1
    assert not hasattr(seen, "second")
    assert made.resume() is seen
    assert seen.second == 2
    del sys.modules[name]


def test_a_container_that_another_coroutine_represents_is_shown_as_recursive(coroutine):
    class Suspends:
        def __repr__(self):
            suspend()
            return "item"

        @reprlib.recursive_repr()
        def recursive(self):
            suspend()
            return "whole"

    container = [Suspends()]
    made = coroutine(repr, container)
    made.resume()
    assert repr(container) == "[...]"
    assert made.resume() == "[item]"
    item = Suspends()
    made = coroutine(item.recursive)
    made.resume()
    assert item.recursive() == "..."
    assert made.resume() == "whole"


def test_thread_locals_are_the_threads(coroutine):
    def work():
        seen = getattr(LOCAL, "value", None)
        LOCAL.value = "inside"
        suspend(seen)
        return LOCAL.value

    LOCAL.value = "outside"
    made = coroutine(work)
    assert made.resume() == "outside"
    assert LOCAL.value == "inside"
    LOCAL.value = "outside again"
    assert made.resume() == "outside again"


def test_a_new_thread_local_inside_is_seen_outside(coroutine):
    made = threading.local()

    def work():
        made.value = 1

    coroutine(work).resume()
    assert made.value == 1


def test_ident_and_current_thread_are_the_threads(coroutine):
    def work():
        return threading.get_ident(), threading.get_native_id(), threading.current_thread()

    assert coroutine(work).resume() == work()


def test_a_decimal_context_is_shared_until_one_is_set(coroutine):
    """It stands in the context, of which a coroutine gets a copy: the same object is in both."""

    def work():
        decimal.getcontext().prec = 7
        suspend()
        with decimal.localcontext() as mine:
            mine.prec = 3
            suspend(str(decimal.Decimal(1) / 3))
            return str(decimal.Decimal(1) / 3)

    def outside():
        decimal.setcontext(decimal.Context(prec=5))
        made = coroutine(work)
        made.resume()
        assert decimal.getcontext().prec == 7
        assert made.resume() == "0.333"
        assert decimal.getcontext().prec == 7
        assert str(decimal.Decimal(2) / 3) == "0.6666667"
        assert made.resume() == "0.333"

    contextvars.copy_context().run(outside)


def test_hooks_of_async_generators_are_the_threads_or_the_thread_states(coroutine, mode):
    hooks = sys.get_asyncgen_hooks()

    def work():
        sys.set_asyncgen_hooks(firstiter=int)
        suspend()
        return sys.get_asyncgen_hooks().firstiter

    made = coroutine(work)
    made.resume()
    seen = sys.get_asyncgen_hooks().firstiter
    sys.set_asyncgen_hooks(*hooks)
    assert seen is (int if mode == "frames" else hooks.firstiter)
    assert made.resume() is (hooks.firstiter if mode == "frames" else int)


def test_a_thread_state_of_its_own_starts_with_its_creators_hooks(coroutine):
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=int)
    try:
        assert coroutine(sys.get_asyncgen_hooks).resume().firstiter is int
    finally:
        sys.set_asyncgen_hooks(*hooks)


def test_the_depth_of_origin_tracking_is_the_threads_or_the_thread_states(coroutine, mode):
    def work():
        sys.set_coroutine_origin_tracking_depth(3)
        suspend()
        return sys.get_coroutine_origin_tracking_depth()

    made = coroutine(work)
    made.resume()
    seen = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(0)
    assert seen == (3 if mode == "frames" else 0)
    assert made.resume() == (0 if mode == "frames" else 3)
