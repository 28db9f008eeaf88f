"""Coroutines and operating-system threads: `frames` stays where it was started, `thread-state` moves."""

import gc
import queue
import sys
import textwrap
import threading

import pytest
from conftest import MODES
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from forks import IN_CHILD
from stackwarden import IsolationUnavailableError, OtherThreadError
from stackwarden.errors import StackExit

LOCAL = threading.local()


def in_thread(function, *arguments):
    """What a function returned, or raised, in another thread."""
    outcome = []

    def work():
        try:
            outcome.append((function(*arguments), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


def work(log):
    try:
        raise KeyError("handled")
    except KeyError as error:
        value = suspend("first")
        assert sys.exc_info()[1] is error
        try:
            return suspend(value)
        except BaseException as thrown:
            log.append(thrown)
            raise


@pytest.mark.parametrize("call", ["resume", "throw", "close"])
def test_frames_are_refused_on_another_thread_and_go_on_on_their_own(call):
    log = []
    made = Coroutine(work, log)
    made.resume()
    arguments = {"resume": ["wrong"], "throw": [KeyError("wrong")], "close": []}[call]
    for _ in range(3):
        with pytest.raises(OtherThreadError):
            in_thread(getattr(made, call), *arguments)
    assert not made.done
    assert made.resume("right") == "right"
    assert made.resume("end") == "end"
    assert log == []


def test_the_thread_that_was_refused_goes_on(coroutine):
    made = Coroutine(work, [])
    made.resume()

    def other():
        mine = coroutine(work, [])
        assert mine.resume() == "first"
        with pytest.raises(OtherThreadError):
            made.resume()
        assert mine.resume("second") == "second"
        with pytest.raises(OtherThreadError):
            coroutine(made.resume).resume()
        return mine.resume("end")

    assert in_thread(other) == "end"
    made.close()


def test_a_coroutine_made_on_one_thread_may_be_started_and_ended_on_another(coroutine):
    made = coroutine(work, [])

    def live():
        return [made.resume(), made.resume("second"), made.resume("end")]

    assert in_thread(live) == ["first", "second", "end"]


def test_frames_of_a_thread_that_is_gone_are_refused_on_its_successors(quiet_child):
    """Address and ident of a dead thread, and of its thread state, come back at once."""
    printed = quiet_child(
        """
        made, refused, idents = [], 0, set()

        def start():
            idents.add(threading.get_ident())
            one = coroutine(lambda: suspend() or 1)
            one.resume()
            made.append(one)

        def resume():
            global refused
            idents.add(threading.get_ident())
            for one in made:
                try:
                    one.resume()
                except stackwarden.OtherThreadError:
                    refused += 1

        for _ in range(10):
            for target in (start, resume):
                thread = threading.Thread(target=target)
                thread.start()
                thread.join()
        print(refused, len(idents) < 20)
        """
    )
    assert printed == "55 True\n"


def test_each_thread_has_coroutines_of_its_own(coroutine):
    """Switches between threads come anywhere: also inside coroutines."""
    barrier = threading.Barrier(4)

    def count(name):
        total = 0
        for number in range(200):
            assert LOCAL.name == name
            total += suspend(number)
        return total

    def live(name):
        LOCAL.name = name
        made = [coroutine(count, name) for _ in range(5)]
        barrier.wait()
        for one in made:
            one.resume()
        return [[one.resume(1) for one in made] for _ in range(200)][-1]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    outcomes = queue.Queue()
    try:
        threads = [
            threading.Thread(target=lambda name=name: outcomes.put(live(name))) for name in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert [outcomes.get_nowait() for _ in threads] == [[200] * 5] * 4


if "thread-state" in MODES:

    def test_thread_states_move_to_other_threads_and_back():
        made = Coroutine(work, [], isolation="thread-state")
        assert in_thread(made.resume) == "first"
        assert made.resume("second") == "second"
        assert in_thread(made.resume, "end") == "end"

    def test_exceptions_travel_between_threads():
        log = []
        made = Coroutine(work, log, isolation="thread-state")
        made.resume()
        in_thread(made.resume)
        error = ValueError("thrown")
        with pytest.raises(ValueError, match="thrown") as raised:
            in_thread(made.throw, error)
        assert raised.value is error
        assert log == [error]
        made = Coroutine(work, log, isolation="thread-state")
        made.resume()
        made.resume()
        in_thread(made.close)
        assert isinstance(log[1], StackExit)

    def test_dropping_on_another_thread_ends_thread_states():
        log = []

        def stay():
            try:
                suspend()
            finally:
                log.append(threading.get_ident())

        box = [Coroutine(stay, isolation="thread-state")]
        box[0].resume()

        def drop():
            box.pop()
            gc.collect()
            return [threading.get_ident()]

        assert in_thread(drop) == log

    def test_after_a_move_the_thread_is_the_one_under_it():
        def who():
            while True:
                suspend((threading.get_ident(), threading.current_thread()))

        made = Coroutine(who, isolation="thread-state")
        mine = threading.get_ident(), threading.current_thread()
        assert made.resume() == mine

        def compare():
            return made.resume() == (threading.get_ident(), threading.current_thread())

        assert in_thread(compare)
        assert made.resume() == mine
        made.close()

    def test_two_threads_take_turns_at_many_coroutines():
        def climb(number, depth):
            if depth:
                return climb(number, depth - 1) + 1
            total = 0
            for step in range(30):
                total += suspend((number, step))
            return total

        waiting, ended = queue.SimpleQueue(), []
        for number in range(40):
            made = Coroutine(climb, number, number % 20, isolation="thread-state")
            made.resume()
            waiting.put((made, number, 0))

        def run():
            while len(ended) < 40:
                try:
                    made, number, step = waiting.get(timeout=0.01)
                except queue.Empty:
                    continue
                result = made.resume(1)
                if made.done:
                    ended.append((number, result))
                else:
                    assert result == (number, step + 1)
                    waiting.put((made, number, step + 1))

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ended) == [(number, 30 + number % 20) for number in range(40)]

else:

    def test_thread_states_are_refused_on_3_11_with_the_reason():
        """PyGILState_Ensure deadlocks there in any thread state but the first."""
        with pytest.raises(IsolationUnavailableError, match=r"3\.11"):
            Coroutine(work, [], isolation="thread-state")
        with pytest.raises(IsolationUnavailableError, match=r"3\.11"):
            stackwarden.register_stack(1 << 20, 1 << 20, isolation="thread-state")
        assert stackwarden.status()["isolation"] == ("none", "frames")


@pytest.mark.skipif("thread-state" not in MODES, reason="3.11 has no isolation of this kind")
def test_forked_in_a_thread_state_of_its_own_the_child_resumes_no_frames(quiet_child):
    """CPython deletes all other thread states in the child: also the one that frames are resumed in."""
    program = """
        def resume(isolation):
            return Coroutine(lambda: isolation, isolation=isolation).resume()

        def look():
            print(resume("thread-state"), flush=True)
            try:
                resume("frames")
            except stackwarden.OtherThreadError:
                print("refused", flush=True)

        print(coroutine(lambda: in_child(look)).resume(), resume("frames"))
    """
    printed = quiet_child(textwrap.dedent(IN_CHILD) + textwrap.dedent(program), mode="thread-state")
    assert printed == "thread-state\nrefused\n0 frames\n"
