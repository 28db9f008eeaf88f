"""The registry holds 1,000,000 stacks while Boost's fibers, coroutines and greenlets switch."""

from availability import unavailable

PROGRAM = """
import ctypes
import mmap

import greenlet
import many_stacks
from stackwarden.adapters.fcontext import Coroutine, suspend
from stackwarden.testing.workloads import WORKLOADS

COUNT, SIZE = 1_000_000, 64 << 10
MAP_NORESERVE = 0x4000
memory = mmap.mmap(-1, COUNT * SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
many_stacks.register(ctypes.addressof(ctypes.c_char.from_buffer(memory)), SIZE, COUNT)
assert stackwarden.status()["registered"] == COUNT

def work(pause, number):
    for _ in range(20):
        try:
            raise KeyError(number)
        except KeyError as error:
            pause()
            assert sys.exc_info()[1] is error
            assert stackwarden.sync_stack() == stackwarden.current_stack()
    return WORKLOADS["containers"].run(), number

def in_greenlet():
    main = greenlet.getcurrent().parent
    return work(lambda: main.switch(None), 3)

def resumed(one):
    return one.resume() if not one.done else None

def switch():
    fibers = [boost.Fiber(lambda n=n: work(boost.suspend, n), 1 << 20) for n in range(10)]
    coroutines = [Coroutine(work, suspend, n, stack_size=1 << 20) for n in range(10)]
    results = []
    while not all(one.done for one in [*fibers, *coroutines]):
        green = greenlet.greenlet(in_greenlet)
        green.switch()
        results += filter(None, map(resumed, [*fibers, *coroutines]))
        while not green.dead:
            last = green.switch()
        assert last == ("freed", 3)
    return sorted(results) == sorted(("freed", n) for n in range(10) for _ in range(2))

print(switch(), stackwarden.status()["registered"] == COUNT + 10)
print(many_stacks.unregister() == COUNT, switch())
"""


def test_a_million_stacks(many_stacks, context_child):
    try:
        import greenlet  # noqa: F401
        import stackwarden.adapters.fcontext  # noqa: F401
    except ImportError as error:
        unavailable(error.name or "boost", str(error))
    assert context_child(PROGRAM) == "True True\nTrue True"
