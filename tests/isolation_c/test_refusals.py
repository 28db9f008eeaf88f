"""What start_switch() refuses it refuses before anything is saved, loaded or counted."""

import sys
import threading

import pytest

import stackwarden
from stackwarden import IsolationUnavailableError

KIB = 1024
ISOLATIONS = [word for word in stackwarden.status()["isolation"] if word != "none"]
MEMORY = 0x10000  # bytes; an address that holds nothing


@pytest.fixture
def unchanged(fibers):
    """Everything that may be seen of the core is after the test what it was before."""

    def everything():
        here = stackwarden.current_stack()
        return (
            here.handle,
            here.switches,
            {s.handle for s in stackwarden.stacks() if s.system == "fibers"},
            status(),
        )

    def status():
        seen = stackwarden.status()
        return {word: seen[word] for word in ("leaked_stacks", "dropped_states", "registered")}

    before = everything()
    yield
    assert everything() == before


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    ("base", "size"), [(0, 0), (0, MEMORY), (MEMORY, 0), (2**64 - 16, 32), (2**48, 2**20)]
)
def test_a_range_that_is_none(fibers, unchanged, base, size, blocking):
    assert fibers.there_and_back(base, size, 0, blocking) == fibers.BAD_RANGE


@pytest.mark.parametrize("blocking", [False, True])
def test_a_range_that_is_not_aligned(fibers, unchanged, blocking):
    assert fibers.there_and_back(MEMORY + 8, 256 * KIB, 0, blocking) == fibers.UNALIGNED


@pytest.mark.parametrize("blocking", [False, True])
def test_bounds_of_a_stack_that_this_interpreter_cannot_protect(fibers, unchanged, blocking):
    size = stackwarden.status()["least_stack_size"] - 16
    assert fibers.there_and_back(MEMORY, size, 0, blocking) == fibers.TOO_SMALL


def test_the_bounds_of_a_stack_that_is_too_small_do_not_abort_the_process(fiber_child):
    """Unguarded this program runs."""
    program = """
        fiber = Fiber(Stack(16 * 1024, isolation=None), lambda number: (lambda: number)())
        print(fiber.resume() == TOO_SMALL, fiber.done)
    """
    assert fiber_child(program) == ["True False"]


def test_a_detached_caller(fibers, unchanged):
    stack = fibers.Stack(isolation="frames")
    assert (
        fibers.there_and_back(stack.base, stack.size, stack.handle, False, True) == fibers.DETACHED
    )
    assert fibers.drain(True) == fibers.DETACHED


@pytest.fixture
def busy(fibers):
    """busy(isolation): a Stack that another thread runs on. After the test it ends."""
    held, go_on, started = [], threading.Event(), threading.Event()

    def run(_number):
        started.set()
        go_on.wait()

    def make(isolation):
        stack = fibers.Stack(isolation=isolation)
        held.append(threading.Thread(target=fibers.Fiber(stack, run).resume))
        held[0].start()
        started.wait()
        return stack

    yield make
    go_on.set()
    for thread in held:
        thread.join()


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("kind", ["none", *ISOLATIONS])
def test_a_stack_that_another_thread_runs_on(fibers, busy, kind, blocking):
    stack = busy(kind)
    call = fibers.there_and_back
    assert call(stack.base, stack.size, stack.handle, blocking) == fibers.IN_USE
    assert call(stack.base, stack.size, stack.handle, True, True) == fibers.IN_USE
    assert stack.unregister() == fibers.IN_USE


def test_another_threads_native_stack(fibers):
    go_on, started, natives = threading.Event(), threading.Event(), []

    def run():
        natives.append(stackwarden.current_stack())
        started.set()
        go_on.wait()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    native = natives[0]
    status = fibers.there_and_back(native.base, native.size, native.handle)
    go_on.set()
    thread.join()
    assert status == fibers.IN_USE


def deep(fibers, number):
    return deep(fibers, number - 1) + 1 if number else fibers.park()


@pytest.fixture
def suspended_elsewhere(fibers):
    """(fiber, its thread as a function that calls one in it); isolation "frames"."""
    orders, answers = [], []
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def work():
        while asked.acquire() and orders[-1] is not None:
            answers.append(orders[-1]())
            answered.release()

    def there(function):
        orders.append(function)
        asked.release()
        answered.acquire()
        return answers[-1]

    thread = threading.Thread(target=work)
    thread.start()
    fiber = fibers.Fiber(fibers.Stack(isolation="frames"), lambda _: deep(fibers, 9), blocking=True)
    there(fiber.resume)
    yield fiber, there
    orders.append(None)
    asked.release()
    thread.join()


def test_frames_that_are_in_another_threads_state(fibers, suspended_elsewhere):
    fiber, there = suspended_elsewhere
    dropped = stackwarden.status()["dropped_states"]
    assert fiber.resume() == fibers.OTHER_THREAD
    assert fiber.resume(True) == fibers.OTHER_THREAD
    assert stackwarden.status()["dropped_states"] == dropped
    assert there(fiber.resume) == fibers.DONE
    assert fiber.done
    assert fiber.result == 9


def test_frames_in_the_state_of_a_thread_that_has_ended(fibers):
    """The next thread gets the same address and the same identity."""
    fiber = fibers.Fiber(fibers.Stack(isolation="frames"), lambda _: deep(fibers, 9))
    thread = threading.Thread(target=fiber.resume)
    thread.start()
    thread.join()
    statuses = []
    for _ in range(20):
        thread = threading.Thread(target=lambda: statuses.append(fiber.resume()))
        thread.start()
        thread.join()
    assert statuses == [fibers.OTHER_THREAD] * 20


def test_renewing_what_cannot_be_renewed(fibers, isolation):
    stack = fibers.Stack(isolation=isolation)
    statuses = []

    def run(_number):
        statuses.append(stack.renew())
        deep(fibers, 3)

    fiber = fibers.Fiber(stack, run)
    fiber.resume()
    statuses.append(stack.renew())
    fiber.resume()
    statuses.append(stack.renew())
    assert statuses == [fibers.IN_USE, fibers.IN_USE, fibers.DONE]
    assert fibers.Stack().renew() == fibers.NO_ISOLATION
    stack.unregister()
    assert stack.renew() == fibers.STALE_HANDLE


def test_a_thread_state_of_ones_own_on_3_11_alone(fibers):
    """PyGILState_Ensure deadlocks there in any state but the first."""
    if sys.version_info < (3, 12):
        with pytest.raises(RuntimeError, match="this isolation cannot be had here"):
            fibers.Stack(isolation="thread-state")
        memory = fibers.Stack(isolation=None)
        with pytest.raises(IsolationUnavailableError):
            stackwarden.register_stack(memory.base, memory.size, isolation="thread-state")
    else:
        assert "thread-state" in stackwarden.status()["isolation"]


def test_arriving_where_nobody_left(fibers, unchanged):
    assert fibers.finish_switch() == fibers.DONE
