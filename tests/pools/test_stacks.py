"""Workers' stacks: recursion ends in RecursionError on all of them, and stacks() shows them."""

import signal
import sys

import pytest


def test_recursion_is_stopped(pool_child, kind):
    program = """
        pool, end = start(KIND)
        with wrap_thread_pool(pool) as executor:
            print({future.result() for future in [executor.submit(recurse) for _ in range(20)]})
        end()
    """
    assert pool_child(kind, program) == ["{'RecursionError'}"]


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="3.14 and later ask for the stack of each thread"
)
def test_unwrapped_recursion_on_a_small_stack_ends_the_process(pool_child):
    program = """
        pool, end = start(KIND)
        pool.enqueue(recurse)
        end()
    """
    assert pool_child("pthreads 64K", program, ends=-signal.SIGSEGV) == []


WORK_THAT_NEEDS_ROOM = """
def descend(depth):
    return sorted([depth], key=lambda _: descend(depth - 1) if depth else 0)

def outcome():
    try:
        return descend(30)
    except RecursionError as error:
        return type(error).__name__
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="they die: see the test before")
def test_unwrapped_work_on_a_small_stack_has_no_room(pool_child):
    program = (
        WORK_THAT_NEEDS_ROOM
        + """
pool, end = start(KIND)
pool.enqueue(lambda: print(outcome(), flush=True))
end()
"""
    )
    assert pool_child("pthreads 64K", program) == ["RecursionError"]


@pytest.mark.parametrize("size", [64, 96, 256])
def test_wrapped_work_on_a_small_stack_has_room(pool_child, size):
    program = (
        WORK_THAT_NEEDS_ROOM
        + """
pool, end = start(KIND)
with wrap_thread_pool(pool) as executor:
    print(executor.submit(outcome).result(), executor.submit(recurse).result())
end()
"""
    )
    assert pool_child(f"pthreads {size}K", program) == ["[30] RecursionError"]


def test_stacks_shows_names_and_counts_tasks(pool_child, kind):
    program = """
        pool, end = start(KIND)
        with wrap_thread_pool(pool, name="mine") as executor:
            meeting = threading.Barrier(3)
            list(executor.map(lambda number: meeting.wait(20) if number < 3 else None, range(30)))
            shown = [stack for stack in stacks() if (stack.name or "").startswith("mine ")]
            print({stack.system for stack in shown}, {stack.bounds_from for stack in shown})
            print(len({stack.name for stack in shown}) == len(shown) >= 3)
            print(sum(stack.switches for stack in shown) >= 30)
        end()
    """
    assert pool_child(kind, program) == ["{'thread pool'} {'native'}", "True", "True"]


def test_what_is_not_carried_runs_on_the_workers_own_stack(pool_child):
    program = """
        pool, end = start("executor")
        with wrap_thread_pool(pool, name="own") as executor:
            print(executor.submit(lambda: stackwarden.current_stack().name).result())
        with wrap_thread_pool(pool, min_stack="1G") as executor:
            print(executor.submit(lambda: stackwarden.current_stack().bounds_from).result())
        end()
    """
    assert pool_child("executor", program) == ["own 1", "told"]


def test_the_setting_says_which_stacks_are_too_small(pool_child):
    program = """
        pool, end = start("executor")
        with wrap_thread_pool(pool) as executor:
            print(executor.submit(lambda: stackwarden.current_stack().bounds_from).result())
        end()
    """
    assert pool_child("executor", program, STACKWARDEN="min-stack=1G") == ["told"]
    assert pool_child("executor", program) == ["native"]


def test_workers_that_ended_are_forgotten(pool_child):
    program = """
        counts = []
        for _ in range(4):
            pool, end = start(KIND)
            with wrap_thread_pool(pool, name="short") as executor:
                list(executor.map(recurse and str, range(30)))
            end()
            counts.append(sum((stack.name or "").startswith("short") for stack in stacks()))
        print(counts)
    """
    assert pool_child("pthreads 64K", program) == ["[0, 0, 0, 0]"]
