"""Signals that come while the thread is on a coroutine's stack, or while coroutines are suspended."""

import signal
import sys

import pytest
from stackwarden.adapters.ucontext import suspend


@pytest.fixture
def handle():
    """handle(function): have a function called for SIGUSR1, without arguments."""

    def set_handler(function):
        signal.signal(signal.SIGUSR1, lambda number, frame: function())

    former = signal.getsignal(signal.SIGUSR1)
    yield set_handler
    signal.signal(signal.SIGUSR1, former)


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where whoever started the tests ignores it."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


def names():
    found, frame = [], sys._getframe(1)
    while frame is not None:
        found.append(frame.f_code.co_name)
        frame = frame.f_back
    return found


def test_a_handler_runs_on_the_stack_that_the_signal_finds(coroutine, handle):
    seen = []
    handle(lambda: seen.append(names()))

    def inside():
        signal.raise_signal(signal.SIGUSR1)
        suspend()
        signal.raise_signal(signal.SIGUSR1)

    made = coroutine(inside)
    made.resume()
    signal.raise_signal(signal.SIGUSR1)
    made.resume()
    assert [found[-1] == "inside" for found in seen] == [True, False, True]
    assert len(seen[0]) == 3


def test_a_handler_may_suspend_the_coroutine(coroutine, handle):
    handle(lambda: suspend("in the handler"))

    def inside():
        signal.raise_signal(signal.SIGUSR1)
        return "end"

    made = coroutine(inside)
    assert made.resume() == "in the handler"
    assert made.resume() == "end"


def test_a_handler_may_resume_another_coroutine(coroutine, handle):
    other = coroutine(lambda: [suspend(number) for number in range(3)])
    seen = []
    handle(lambda: seen.append(other.resume()))

    def inside():
        signal.raise_signal(signal.SIGUSR1)
        suspend()
        signal.raise_signal(signal.SIGUSR1)

    made = coroutine(inside, stack_size=1 << 20)
    made.resume()
    made.resume()
    assert seen == [0, 1]
    other.close()


def test_an_exception_of_a_handler_travels_out_of_resume(coroutine, handle):
    def fail():
        raise KeyError("from the handler")

    handle(fail)
    made = coroutine(signal.raise_signal, signal.SIGUSR1)
    with pytest.raises(KeyError, match="from the handler"):
        made.resume()
    assert made.done


@pytest.mark.usefixtures("interruptible")
def test_keyboard_interrupt_in_a_coroutine_can_be_caught_there_and_outside(coroutine):
    def inside(catch):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            if not catch:
                raise
        return suspend("caught")

    made = coroutine(inside, True)
    assert made.resume() == "caught"
    made.close()
    made = coroutine(inside, False)
    with pytest.raises(KeyboardInterrupt):
        made.resume()
    assert made.done


def test_a_handler_sees_the_exception_that_its_stack_handles(coroutine, handle):
    seen = []
    handle(lambda: seen.append(sys.exc_info()[1]))

    def inside(error):
        try:
            raise error
        except KeyError:
            signal.raise_signal(signal.SIGUSR1)
            suspend()

    error = KeyError()
    made = coroutine(inside, error)
    made.resume()
    signal.raise_signal(signal.SIGUSR1)
    assert seen == [error, None]
    made.close()
