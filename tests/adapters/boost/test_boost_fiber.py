"""stackwarden/boost_fiber.hpp, used by a pybind11 extension: fibers that a scheduler of Boost.Fiber dispatches.

Each test is a child that runs Python on fibers, for each Boost that Debian has.
"""

import pytest

import stackwarden
from stackwarden.testing.workloads import WORKLOADS

KIB = 1024
EXACT = stackwarden.status()["exact_stack_size"]
COVERED = [size for size in (256 * KIB, 1024 * KIB) if size >= EXACT]

CONFORMS = """
from stackwarden.testing import check_adapter

this_thread = threading.local()

def use():
    if not hasattr(this_thread, "used"):
        boost.use()
        this_thread.used = True

pools = {{}}

def run(function, stack_size):
    use()
    pool = pools.setdefault(stack_size, [])
    base = pool.pop() if pool else boost.map_stack(stack_size)
    fiber = boost.Fiber(function, stack_size, {dispatch}, base=base)
    try:
        return fiber.join()
    finally:
        boost.pause()  # the dispatcher gives the stack back
        pool.append(base)

def interleave(functions, stack_size):
    use()
    pause = lambda: boost.pause({detached})
    fibers = [boost.Fiber(lambda f=f: f(pause), stack_size, {dispatch}) for f in functions]
    return [fiber.join({detached}) for fiber in fibers]

print("\\n".join(check_adapter(run, interleave=interleave, isolation="frames")))
"""


@pytest.mark.parametrize("detached", [False, True])
@pytest.mark.parametrize("dispatch", [False, True])
def test_the_adapter_conforms(fiber_child, dispatch, detached):
    checked = fiber_child(CONFORMS.format(dispatch=dispatch, detached=detached))
    assert "interleaving" in checked
    assert "came to lie" not in checked


PLACED = """
from stackwarden.testing.child import in_thread
from stackwarden.testing.workloads import WORKLOADS

# The kernel maps downwards: what is mapped before a thread's stack lies above it.
early = [boost.map_stack({size}) for _ in range(4)]

def placed():
    native = stackwarden.current_stack().base
    while True:
        for base in early:
            if (base > native) == ({placement!r} == "above"):
                return base
        early.append(boost.map_stack({size}))

def work():
    boost.use({algorithm!r})
    return [boost.Fiber(WORKLOADS[name].run, {size}, base=placed()).join() for name in {names}]

print(in_thread(work))
"""


@pytest.mark.parametrize("placement", ["below", "above"])
@pytest.mark.parametrize("size", COVERED)
def test_protected_work_ends_exactly_right(fiber_child, size, placement):
    program = PLACED.format(
        size=size, placement=placement, algorithm="adapter", names=list(WORKLOADS)
    )
    expected = [workload.expected for workload in WORKLOADS.values()]
    assert fiber_child(program) == str(expected)


@pytest.mark.parametrize("placement", ["below", "above"])
def test_the_unprotected_twin_dies(fiber_child, placement):
    fiber_child(
        PLACED.format(size=256 * KIB, placement=placement, algorithm="plain", names=["add"]),
        ends=-11,
    )


HANDLED = """
import os
boost.use()

def work(number):
    try:
        raise KeyError(number)
    except KeyError as error:
        boost.pause()
        os._exit(0 if sys.exc_info()[1] is error else 3)

fibers = [boost.Fiber(lambda n=n: work(n)) for n in range(2)]
fibers[0].join()
"""


def test_the_twin_without_the_package_handles_another_fibers_exception(fiber_child):
    fiber_child(HANDLED)
    fiber_child(HANDLED, ends=3, ALONE="yes")


MIXED = """
boost.use()
name = contextvars.ContextVar("name")
name.set("main")

def work(number, depth=5):
    detached = bool(number & 1)
    if depth:
        boost.pause(detached)
        return work(number, depth - 1) + 1
    assert name.get() == "main"
    name.set(number)
    try:
        raise KeyError(number)
    except KeyError as error:
        for _ in range(3):
            boost.pause(not detached)
            assert sys.exc_info()[1] is error
            assert name.get() == number
            assert stackwarden.sync_stack() == stackwarden.current_stack()
        return number

for dispatch in False, True:
    for detached in False, True:
        fibers = [boost.Fiber(lambda n=n: work(n), dispatch=dispatch) for n in range(20)]
        assert [fiber.join(detached) for fiber in fibers] == list(range(5, 25))
        assert sys.exc_info()[1] is None
"""


def test_fibers_that_wait_attached_and_detached_go_on_as_they_were_left(fiber_child):
    program = """
print(name.get(), stackwarden.current_stack().bounds_from, stackwarden.status()["leaked_stacks"])
"""
    assert fiber_child(MIXED + program) == "main native 0"


def test_on_four_threads_at_once(fiber_child):
    program = """
def on_a_thread():
    name.set("main")
    boost.use()
    assert [f.join() for f in [boost.Fiber(lambda n=n: work(n)) for n in range(20)]] == list(range(5, 25))
    done.append(1)

done = []
threads = [threading.Thread(target=on_a_thread) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(done))
"""
    assert fiber_child(MIXED + program) == "4"


def test_a_thread_whose_fibers_all_wait_lets_others_have_the_gil(fiber_child):
    """The fibers wait with the GIL held; another Python thread opens the gate."""
    program = """
        boost.use()
        gate = boost.Gate()
        opener = threading.Thread(target=gate.open)
        fibers = [boost.Fiber(gate.wait), boost.Fiber(lambda: gate.wait()), boost.Fiber(opener.start)]
        for fiber in fibers:
            fiber.join()
        opener.join()
        print("open")
    """
    assert fiber_child(program) == "open"


def test_who_waits_detached_does_not_block_who_opens_with_the_gil(fiber_child):
    """The opener spins for a lock of the gate's, with the GIL: in that lock nobody may wait for the GIL."""
    program = """
        boost.use()

        def open_all():
            for gate in gates:
                gate.open()

        for _ in range(30):
            gates = [boost.Gate() for _ in range(30)]
            opener = threading.Thread(target=open_all)
            fibers = [boost.Fiber(lambda g=g: (g.wait(True), g.wait(True))) for g in gates]
            opener.start()
            for fiber in fibers:
                fiber.join(True)
            opener.join()
        print("open")
    """
    assert fiber_child(program) == "open"


def test_calls_on_a_thread_of_c_wait_for_an_event_loop_on_another(fiber_child):
    """As Ray's async actors: 256 KiB, the GIL taken for each call, a coroutine awaited in the middle of it."""
    program = """
        import asyncio
        loop = asyncio.new_event_loop()
        loops = threading.Thread(target=loop.run_forever)
        loops.start()
        name = contextvars.ContextVar("name", default="nobody")
        results = [0] * 50

        async def answer(number):
            await asyncio.sleep(0)
            return [number] * 3

        def call(number):
            assert name.get() == "nobody"
            name.set(number)
            gate = boost.Gate()
            future = asyncio.run_coroutine_threadsafe(answer(number), loop)
            future.add_done_callback(lambda _: gate.open())
            gate.wait(True)
            assert name.get() == number
            results[number] += future.result()[2]

        def held():
            gc.collect()
            return len(gc.get_objects())

        calls = [lambda n=n: call(n) for n in range(50)]
        boost.run_thread(calls)
        before = held()
        for _ in range(5):
            boost.run_thread(calls)
        status = stackwarden.status()
        print(held() - before, results == [6 * number for number in range(50)])
        print(status["leaked_stacks"], status["dropped_states"], status["registered"])
        loop.call_soon_threadsafe(loop.stop)
        loops.join()
    """
    held, rest = fiber_child(program).split(" ", 1)
    assert rest == "True\n0 0 0"
    assert int(held) < 50


def test_stacks_without_isolation_have_their_bounds_told(fiber_child):
    program = """
        from stackwarden.testing.workloads import WORKLOADS
        boost.use()

        def work():
            outcome = WORKLOADS["add"].run()
            here = stackwarden.current_stack()
            return outcome, stackwarden.sync_stack() == here, here.bounds_from

        fibers = [boost.Fiber(work, 1 << 20, isolation="none") for _ in range(3)]
        print({fiber.join() for fiber in fibers}, stackwarden.current_stack().bounds_from)
    """
    assert fiber_child(program) == "{('RecursionError', True, 'told')} native"


def test_a_fiber_that_nobody_holds_is_forgotten_when_it_is_over(fiber_child):
    """Its stack goes before the scheduler picks another fiber. Also on a thread that ends with fibers on it."""
    program = """
        def registered():
            return sum(stack.system == "boost" for stack in stackwarden.stacks())

        def work():
            boost.pause()
            ran.append(registered())
            boost.pause(True)

        def start_five():
            for _ in range(5):
                boost.start(work)

        ran = []
        boost.use()
        start_five()
        while registered():
            boost.pause()
        print(len(ran), stackwarden.current_stack().bounds_from)
        boost.run_thread([start_five] * 2)
        print(len(ran), registered(), stackwarden.status()["leaked_stacks"])
    """
    assert fiber_child(program) == "5 native\n15 0 0"


def test_what_is_ready_moves_to_another_algorithm(fiber_child):
    program = """
        boost.use()
        ran = []
        fibers = [boost.Fiber(lambda n=n: ran.append(n)) for n in range(3)]
        boost.use("plain")
        boost.use("adapter")
        for fiber in fibers:
            fiber.join()
        print(ran)
    """
    assert fiber_child(program) == "[0, 1, 2]"


def test_where_the_package_is_not_found_the_scheduling_is_the_same(fiber_child):
    program = """
        boost.use()
        print([fiber.join() for fiber in [boost.Fiber(lambda n=n: n) for n in range(3)]])
    """
    assert fiber_child(program, ALONE="yes") == "[0, 1, 2]"
