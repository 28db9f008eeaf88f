"""asyncio: every stack may run an event loop of its own, and be left in the middle of a task.

The running loop stands in the thread state since 3.14, and before that in the thread's dict and a
cache of `_asyncio`; what is looked at here is what asyncio says.
"""

import asyncio
import sys

from stackwarden.adapters.ucontext import suspend


def running():
    """The running loop and task, or None."""
    try:
        return asyncio.get_running_loop(), asyncio.current_task()
    except RuntimeError:
        return None


async def task(name, steps):
    mine = running()
    assert mine is not None
    for step in range(steps):
        suspend((name, step))
        assert running() == mine
        await asyncio.sleep(0)
        assert running() == mine
    return name


def run_loop(name, steps=3):
    """A loop with two tasks, each of which suspends the whole coroutine."""

    async def main():
        return await asyncio.gather(task(name, steps), task(name, steps))

    assert running() is None
    result = asyncio.run(main())
    assert running() is None
    return result


def resume_all(made):
    """Resume each in turn until all are done; their results."""
    results = [None] * len(made)
    while not all(one.done for one in made):
        for number, one in enumerate(made):
            if not one.done:
                results[number] = one.resume()
                yield
    assert results == [[name] * 2 for name in range(len(made))]


def test_several_coroutines_each_run_a_loop(coroutine):
    for _ in resume_all([coroutine(run_loop, name, name + 1) for name in range(4)]):
        assert running() is None


def test_a_loop_outside_goes_on_while_coroutines_run_loops(coroutine):
    made = [coroutine(run_loop, name, name + 1) for name in range(3)]

    async def resume_from_a_task():
        mine = running()
        for _ in resume_all(made):
            assert running() == mine
            await asyncio.sleep(0)
            assert running() == mine

    async def other_task():
        mine = running()
        for _ in range(20):
            await asyncio.sleep(0)
            assert running() == mine

    async def main():
        await asyncio.gather(resume_from_a_task(), other_task())

    asyncio.run(main())
    assert running() is None


def test_a_coroutine_made_inside_a_task_runs_in_no_loop(coroutine):
    async def main():
        assert coroutine(running).resume() is None
        return coroutine(run_loop, "inside", 0).resume()

    assert asyncio.run(main()) == ["inside"] * 2


def test_a_loop_inside_a_coroutine_inside_a_loop(coroutine):
    def inner():
        return run_loop("inner")

    def outer():
        async def main():
            mine = running()
            made = coroutine(inner)
            while not made.done:
                result = made.resume()
                assert running() == mine
                suspend(result)
                assert running() == mine
            return result

        return asyncio.run(main())

    made = coroutine(outer, stack_size=1 << 20)
    while not made.done:
        result = made.resume()
        assert running() is None
    assert result == ["inner"] * 2


def test_a_coroutine_that_is_closed_in_the_middle_of_a_task_takes_its_loop_along(coroutine):
    made = coroutine(run_loop, "closed")
    made.resume()
    made.close()
    assert running() is None
    assert coroutine(run_loop, "next", 0).resume() == ["next"] * 2
    assert asyncio.run(task("native", 0)) == "native"


def test_one_that_never_returns_to_its_task_disturbs_no_other(coroutine):
    made = coroutine(run_loop, "left")
    made.resume()
    for name in range(3):
        assert coroutine(run_loop, name, 0).resume() == [name] * 2
        assert running() is None
    made.close()


def test_tasks_of_one_loop_are_told_apart_inside_a_coroutine(coroutine):
    async def note(seen):
        seen.append(asyncio.current_task())
        suspend()
        seen.append(asyncio.current_task())

    async def main(seen):
        tasks = [asyncio.ensure_future(note(seen)) for _ in range(2)]
        await asyncio.gather(*tasks)
        return [seen.count(one) for one in tasks]

    made = coroutine(asyncio.run, main([]))
    while not made.done:
        result = made.resume()
    assert result == [2, 2]


LATE = """
def running():
    import asyncio
    try:
        return asyncio.get_running_loop(), asyncio.current_task()
    except RuntimeError:
        return None

def run_loop(name):
    import asyncio

    async def main():
        mine = running()
        for _ in range(3):
            suspend(name)
            assert running() == mine
            await asyncio.sleep(0)
        return name

    return asyncio.run(main())

assert "_asyncio" not in sys.modules and "asyncio" not in sys.modules
made = [coroutine(run_loop, name) for name in "ab"]
for step in range(4):
    for one, name in zip(made, "ab"):
        assert one.resume() == name
        assert running() is None
print(all(one.done for one in made))
"""


def test_asyncio_may_be_imported_first_inside_a_coroutine(quiet_child, mode):
    assert quiet_child(LATE, mode) == "True\n"


def test_a_loop_may_run_outside_before_any_coroutine_is_made(quiet_child, mode):
    program = "import asyncio\nasyncio.run(asyncio.sleep(0))\n"
    program += LATE.replace('assert "_asyncio"', '"_asyncio"')
    assert quiet_child(program, mode) == "True\n"


# ---- async generators in loops ----


async def numbers(limit):
    for number in range(limit):
        suspend(("before", number))
        yield number
        await asyncio.sleep(0)
        suspend(("after", number))


async def collect(limit):
    return [number async for number in numbers(limit)]


def test_async_generators_in_loops_of_several_coroutines(coroutine):
    made = [coroutine(lambda: asyncio.run(collect(3))) for _ in range(3)]
    while not all(one.done for one in made):
        results = [one.resume() for one in made if not one.done]
    assert results == [[0, 1, 2]] * 3


def test_the_hooks_of_async_generators_are_the_threads(quiet_child, mode):
    """A loop sets them for the thread; with `thread-state` for its coroutine alone."""
    printed = quiet_child(
        """
        import asyncio

        async def main():
            suspend(sys.get_asyncgen_hooks().finalizer is not None)

        made = coroutine(asyncio.run, main())
        print(made.resume(), sys.get_asyncgen_hooks().finalizer is not None)
        made.resume()
        print(sys.get_asyncgen_hooks().finalizer is not None)
        """,
        mode,
    )
    assert printed == f"True {mode == 'frames'}\nFalse\n"


def test_the_task_of_a_suspended_loop_is_found_but_by_frames_since_3_14(coroutine, mode):
    """current_task(loop) looks for it in the thread states since then, and it is not in one now."""
    found = []

    async def main():
        found.append((asyncio.get_running_loop(), asyncio.current_task()))
        suspend()

    made = coroutine(asyncio.run, main())
    made.resume()
    loop, task_of_loop = found.pop()
    is_kept_apart = mode == "frames" and sys.version_info >= (3, 14)
    assert asyncio.current_task(loop) is (None if is_kept_apart else task_of_loop)
    made.resume()
