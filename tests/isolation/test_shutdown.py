"""The interpreter ends while stacks are suspended: with status 0, and without a word."""

import textwrap

import pytest

CASES = {
    "one that a global refers to": """
        made = coroutine(work)
        made.resume()
        """,
    "one that was never started": """
        made = coroutine(work)
        """,
    "one that was closed before it started": """
        made = coroutine(work)
        made.close()
        """,
    "many, deep, in a cycle": """
        class Node:
            pass

        def deep(depth):
            return deep(depth - 1) if depth else work()

        for number in range(50):
            node = Node()
            node.itself, node.made = node, coroutine(deep, number % 40)
            node.made.resume()
        """,
    "some that are done": """
        for _ in range(40):
            coroutine(int).resume()
        """,
    "one that handles an exception and has a generator": """
        def handle():
            generator = (number for number in range(5))
            next(generator)
            try:
                raise KeyError
            except KeyError:
                suspend()

        made = coroutine(handle)
        made.resume()
        """,
    "one whose own frames refer to it": """
        def hold(box):
            me = box[0]
            suspend()

        box = []
        box.append(coroutine(hold, box))
        box[0].resume()
        del box
        """,
    "one inside another": """
        def outer():
            inner = coroutine(work)
            inner.resume()
            suspend()

        made = coroutine(outer, stack_size=1 << 20)
        made.resume()
        """,
    "one of a thread that has ended": """
        made = []

        def start():
            made.append(coroutine(work))
            made[0].resume()

        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        """,
    "one in the middle of a task": """
        import asyncio

        async def main():
            suspend()

        made = coroutine(asyncio.run, main())
        made.resume()
        """,
    "one that catches everything": """
        def stubborn():
            while True:
                try:
                    suspend()
                except BaseException:
                    pass

        made = coroutine(stubborn)
        made.resume()
        """,
    "one that a frame object was kept of": """
        made = coroutine(work)
        made.resume()
        frames = [stack.frame for stack in stackwarden.stacks()]
        """,
    "one that lives in sys and outlives the modules": """
        sys.made = coroutine(work)
        sys.made.resume()
        """,
    "one of a daemon thread that is suspended": """
        import time

        ready = threading.Event()

        def stay():
            made = coroutine(work)
            made.resume()
            ready.set()
            time.sleep(1000)

        threading.Thread(target=stay, daemon=True).start()
        ready.wait()
        """,
    "one of a daemon thread that runs": """
        import time

        ready = threading.Event()

        def stay():
            ready.set()
            time.sleep(1000)

        threading.Thread(target=lambda: coroutine(stay).resume(), daemon=True).start()
        ready.wait()
        """,
    "one that atexit ends": """
        import atexit

        made = coroutine(work)
        made.resume()
        atexit.register(made.close)
        """,
}

PROGRAM = """
def work():
    try:
        suspend()
    finally:
        left.append("left")

left = []
"""


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_said_at_exit_with(quiet_child, mode, case):
    assert quiet_child(PROGRAM + textwrap.dedent(CASES[case]), mode) == ""


def test_sys_exit_in_a_coroutine_leaves_it_as_any_exception(quiet_child, mode):
    printed = quiet_child(
        """
        import atexit

        def work():
            try:
                sys.exit()
            finally:
                print("left")

        atexit.register(print, "atexit")
        coroutine(work).resume()
        """,
        mode,
    )
    assert printed == "left\natexit\n"


def test_no_finally_block_of_what_is_suspended_runs_at_exit(quiet_child, mode):
    printed = quiet_child(
        """
        def stay():
            try:
                suspend()
            finally:
                print("left")

        made = coroutine(stay)
        made.resume()
        """,
        mode,
    )
    assert printed == ""
