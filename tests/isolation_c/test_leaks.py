"""Blocks and resident memory stay level over 100,000 fibers, in each mode, wherever their stacks lie.

Each fiber sets a context variable, handles an exception and, where it has execution state of its own, is
suspended in the middle of Python among nine others. Not on the main thread: there CPython 3.14 and later
take most of a millisecond to attach a new thread state for the first time.
"""

import pytest

import stackwarden

FIBERS = 100_000
ALLOWED_BLOCKS = 100
ALLOWED_KIB = 2048

PROGRAM = """
    variable = contextvars.ContextVar("variable")

    def deep(depth):
        if depth:
            return deep(depth - 1) + 1
        try:
            raise KeyError(depth)
        except KeyError:
            if isolation != "none":
                park()
        return depth

    def work(number):
        variable.set([number])
        assert deep(8) == 8

    def stacks_below_or_above():
        found = []
        while len(found) < 10:
            stack = Stack(isolation=isolation)
            kept.append(stack)
            if (stack.base > fibers.address()) == above:
                found.append(stack)
        return found

    def renewed():
        for stack in pool:
            if isolation != "none":
                assert stack.renew() == DONE
        return pool

    def registered_anew():
        return [Stack(isolation=isolation) for _ in range(10)]

    def ten(stacks):
        ours = [Fiber(stack, work) for stack in stacks]
        for fiber in ours:
            assert fiber.resume() == DONE
        for fiber in reversed(ours):
            if not fiber.done:
                assert fiber.resume() == DONE
        assert all(fiber.done for fiber in ours)

    def kib():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4

    def measure():
        global pool
        pool = early if above else stacks_below_or_above()
        for _ in range(200):
            ten(source())
        gc.collect()
        before = sys.getallocatedblocks(), kib()
        for _ in range({fibers} // 10):
            ten(source())
        gc.collect()
        print(sys.getallocatedblocks() - before[0], kib() - before[1])

    kept = []
    isolation, above, source = {isolation!r}, {above}, {source}
    early = [Stack(isolation=isolation) for _ in range(10)]
    thread = threading.Thread(target=measure)
    thread.start()
    thread.join()
    kept.clear(), early.clear(), pool.clear()
    seen = stackwarden.status()
    assert seen["leaked_stacks"] == seen["dropped_states"] == 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", stackwarden.status()["isolation"])
@pytest.mark.parametrize(
    ("source", "above"),
    [
        pytest.param("renewed", True, id="on-stacks-above-the-threads-own"),
        pytest.param("registered_anew", False, id="on-a-new-stack-each-below-the-threads-own"),
    ],
)
def test_a_hundred_thousand_fibers_leave_nothing(fiber_child, kind, source, above):
    program = PROGRAM.format(isolation=kind, source=source, above=above, fibers=FIBERS)
    ((blocks, kib),) = [map(int, line.split()) for line in fiber_child(program, seconds=250)]
    assert blocks < ALLOWED_BLOCKS
    assert kib < ALLOWED_KIB
