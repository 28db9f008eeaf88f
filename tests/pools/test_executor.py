"""Whatever the pool, the executor behaves as those of concurrent.futures do."""

import pytest

BEGIN = "pool, end = start(KIND)\n"


def test_results_exceptions_and_map(pool_child, kind):
    program = (
        BEGIN
        + """
def fail(word):
    raise KeyError(word)

with wrap_thread_pool(pool) as executor:
    futures = [executor.submit(pow, number, 2, mod=None) for number in range(20)]
    print([future.result() for future in futures] == [number**2 for number in range(20)])
    print(list(executor.map(divmod, range(3), [2, 2, 2], timeout=50)))
    failed = executor.submit(fail, "word")
    print(repr(failed.exception()), failed.exception().__traceback__.tb_frame.f_code.co_name)
    done, not_done = concurrent.futures.wait([*futures, failed], 50)
    print(len(done), len(not_done), len(list(concurrent.futures.as_completed(futures, 50))))
    print(executor.submit(threading.get_ident).result() != threading.get_ident())
end()
"""
    )
    assert pool_child(kind, program) == [
        "True",
        "[(0, 0), (0, 1), (1, 0)]",
        "KeyError('word') fail",
        "21 0 20",
        "True",
    ]


def test_cancelled_tasks_do_not_run(pool_child, queueing_kind):
    program = """
pool, end = start(KIND, 1)
go, ran = threading.Event(), []
executor = wrap_thread_pool(pool)
first = executor.submit(go.wait)
while not first.running():
    os.sched_yield()
one, two, three = (executor.submit(ran.append, name) for name in ("one", "two", "three"))
print(first.cancel(), one.cancel(), one.cancelled())
executor.shutdown(wait=False, cancel_futures=True)
print(two.cancelled(), three.cancelled())
try:
    executor.submit(print)
except RuntimeError as error:
    print(error)
go.set()
executor.shutdown()
print(first.result(), ran, len(list(concurrent.futures.as_completed([one, two, three], 50))))
end()
"""
    if queueing_kind == "multiprocessing":  # whose end would drop what is queued
        program = program.replace("end()\n", "")
    assert pool_child(queueing_kind, program) == [
        "False True True",
        "True True",
        "cannot schedule new futures after shutdown",
        "True [] 3",
    ]


def test_shutdown_waits_for_the_tasks_and_leaves_the_pool_alone(pool_child, kind):
    program = (
        BEGIN
        + """
ran = []
for _ in range(3):
    executor = wrap_thread_pool(pool)
    for _ in range(50):
        executor.submit(lambda: ran.append(time.sleep(0)))
    executor.shutdown()
    executor.shutdown()
    print(len(ran))
end()
"""
    )
    assert pool_child(kind, program) == ["50", "100", "150"]


def test_each_worker_is_initialised_once_and_torn_down_once(pool_child, kind):
    """And finds in its tasks what its initializer left: variables of its context and of the thread."""
    program = (
        BEGIN
        + """
local, variable = threading.local(), contextvars.ContextVar("variable")
begun, ended, seen = [], [], []

def begin(word):
    local.value = threading.get_ident()
    variable.set(word)
    begun.append(threading.get_ident())

def work(number):
    seen.append((local.value == threading.get_ident(), variable.get()))
    variable.set(number)
    meeting.wait(20) if number < 3 else None

def finish():
    ended.append((local.value, variable.get()))

meeting = threading.Barrier(3)
with wrap_thread_pool(pool, initializer=begin, initargs=("word",), teardown=finish) as executor:
    list(executor.map(work, range(60)))
print(set(seen), len(seen))
print(len(begun) == len(set(begun)) >= 3, sorted(ended) == sorted((one, "word") for one in begun))
end()
"""
    )
    assert pool_child(kind, program) == ["{(True, 'word')} 60", "True True"]


def test_an_initializer_that_fails_breaks_the_executor(pool_child, queueing_kind):
    program = (
        BEGIN
        + """
import logging
logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL + 1)
go = threading.Event()
executor = wrap_thread_pool(pool, initializer=lambda: go.wait() and 1 / 0)
futures = [executor.submit(print, "never") for _ in range(10)]
go.set()
print({type(future.exception()).__name__ for future in futures})
try:
    executor.submit(print)
except concurrent.futures.BrokenExecutor as error:
    print(error)
executor.shutdown()
end()
"""
    )
    assert pool_child(queueing_kind, program) == [
        "{'BrokenThreadPool'}",
        "an initializer failed, the executor is not usable any more",
    ]


def test_a_teardown_that_fails_is_logged(pool_child, kind):
    program = (
        BEGIN
        + """
import logging
logging.basicConfig(stream=sys.stdout, format="%(message)s")
with wrap_thread_pool(pool, teardown=lambda: 1 / 0) as executor:
    executor.submit(int).result()
end()
"""
    )
    printed = pool_child(kind, program)
    assert (printed[0], printed[-1]) == (
        "Exception in teardown:",
        "ZeroDivisionError: division by zero",
    )


def test_the_context_of_the_caller_is_not_that_of_the_task_unless_it_is_asked_for(pool_child, kind):
    program = (
        BEGIN
        + """
variable = contextvars.ContextVar("variable", default="nothing")
variable.set("the caller's")
with wrap_thread_pool(pool) as executor:
    print(executor.submit(variable.get).result())
    print(executor.submit(contextvars.copy_context().run, variable.get).result())
    executor.submit(variable.set, "a task's").result()
    print({executor.submit(variable.get).result() for _ in range(10)}, variable.get())
end()
"""
    )
    assert pool_child(kind, program) == ["nothing", "the caller's", "{'nothing'} the caller's"]


def test_nothing_is_left_of_tasks_that_are_over(pool_child, kind):
    program = (
        BEGIN
        + """
import gc, weakref

class Thing:
    pass

def fail(thing):
    raise ValueError(thing)

with wrap_thread_pool(pool) as executor:
    things = [Thing() for _ in range(6)]
    gone = [weakref.ref(thing) for thing in things]
    futures = [executor.submit(fail if number % 2 else id, thing) for number, thing in enumerate(things)]
    concurrent.futures.wait(futures)
    del things, futures
    gc.collect()
end()
del pool, end
gc.collect()
print([ref() for ref in gone] == [None] * 6)
"""
    )
    assert pool_child(kind, program) == ["True"]


def test_asyncio_can_use_it(pool_child):
    program = (
        BEGIN
        + """
import asyncio

async def main():
    loop = asyncio.get_running_loop()
    with wrap_thread_pool(pool) as executor:
        results = await asyncio.gather(*(loop.run_in_executor(executor, pow, n, 2) for n in range(5)))
        print(results, await loop.run_in_executor(executor, recurse))

asyncio.run(main())
end()
"""
    )
    assert pool_child("pthreads 64K", program) == ["[0, 1, 4, 9, 16] RecursionError"]


@pytest.mark.parametrize("kind", ["executor", "gevent", "gevent executor", "multiprocessing"])
def test_a_program_may_end_without_shutting_anything_down(pool_child, kind):
    """Not with threads of C++: CPython ends or hangs those that let go of a task while it ends."""
    program = (
        BEGIN
        + """
executor = wrap_thread_pool(pool, initializer=int, teardown=int)
print([executor.submit(recurse).result() for _ in range(3)], flush=True)
"""
    )
    assert pool_child(kind, program) == [str(["RecursionError"] * 3)]
