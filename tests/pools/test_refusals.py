"""What is no thread pool is refused, and what a pool does not run does not wait for ever."""

import concurrent.futures
import threading

import pytest

import stackwarden
from stackwarden.testing.child import in_thread


def test_what_takes_no_callable_is_refused():
    with pytest.raises(
        stackwarden.errors.ThreadPoolError, match=r"none of the methods submit, post"
    ):
        stackwarden.wrap_thread_pool(object())


@pytest.mark.parametrize("name", ["initializer", "teardown"])
def test_hooks_must_be_callable(name):
    with pytest.raises(TypeError, match="str is not callable: 'text'"):
        stackwarden.wrap_thread_pool(print, **{name: "text"})


@pytest.mark.parametrize("size", [0, -1, "much", 2**47])
def test_a_size_must_be_one(size):
    with pytest.raises(stackwarden.StackRangeError, match="min_stack"):
        stackwarden.wrap_thread_pool(print, min_stack=size)


def test_a_pool_of_processes_is_refused_by_its_first_task():
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        future = stackwarden.wrap_thread_pool(pool).submit(print)
        with pytest.raises(stackwarden.errors.ThreadPoolError, match="in another process"):
            future.result(60)


def test_what_the_pool_raises_is_raised_and_nothing_is_left_pending():
    class FullError(Exception):
        pass

    def refuse(task):
        raise FullError

    executor = stackwarden.wrap_thread_pool(refuse)
    for _ in range(2):
        with pytest.raises(FullError):
            executor.submit(print)
    executor.shutdown()


def test_what_their_executor_cancels_is_cancelled():
    go = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    executor = stackwarden.wrap_thread_pool(pool)
    first, second = executor.submit(go.wait, 60), executor.submit(print)
    pool.shutdown(wait=False, cancel_futures=True)
    assert second.cancelled()
    go.set()
    assert first.result(60)
    executor.shutdown()


def test_when_their_executor_is_broken_the_tasks_fail():
    pool = concurrent.futures.ThreadPoolExecutor(1, initializer=lambda: 1 / 0)
    future = stackwarden.wrap_thread_pool(pool).submit(print)
    with pytest.raises(concurrent.futures.BrokenExecutor):
        future.result(60)


def test_a_teardown_whose_pool_is_gone_does_not_keep_shutdown_waiting():
    pool = concurrent.futures.ThreadPoolExecutor(1)
    executor = stackwarden.wrap_thread_pool(pool, teardown=print)
    future = executor.submit(threading.Event().wait, 0)
    future.result(60)
    go = threading.Event()
    pool.submit(go.wait)  # so that the worker does not end
    pool.shutdown(wait=False)
    with pytest.raises(RuntimeError):
        executor.shutdown()
    executor.shutdown()
    go.set()


def test_a_function_that_calls_at_once_is_a_pool_too():
    def use():
        with stackwarden.wrap_thread_pool(lambda task: task(), name="at once") as executor:
            assert executor.submit(threading.get_ident).result(0) == threading.get_ident()

    in_thread(use)  # its stack is named after the pool, for good
