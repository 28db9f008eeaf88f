"""sys.settrace, sys.setprofile and sys.monitoring, turned on and off while coroutines are suspended.

With `frames` trace and profile functions belong to the thread, as for greenlets; with `thread-state`
to the coroutine that sets them.
"""

import dis
import sys

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

HERE = __file__


@pytest.fixture(autouse=True)
def no_tracing_afterwards():
    trace, profile = sys.gettrace(), sys.getprofile()
    yield
    sys.settrace(trace)
    sys.setprofile(profile)


class Recorder:
    """A trace or profile function that keeps the events of this file, lines left out."""

    def __init__(self):
        self.events = []

    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename == HERE and event in ("call", "return"):
            self.events.append((event, frame.f_code.co_name))
        return self


def leaf():
    return 1


def work():
    for _ in range(3):
        leaf()
        suspend()


LEAF = [("call", "leaf"), ("return", "leaf")]
SETTERS = pytest.mark.parametrize("turn", [sys.settrace, sys.setprofile])


def record(turn, function, *arguments):
    recorder = Recorder()
    turn(recorder)
    try:
        function(*arguments)
    finally:
        turn(None)
    return recorder.events


@SETTERS
def test_a_function_set_outside_sees_the_calls_of_coroutines_of_its_thread(coroutine, mode, turn):
    def resume_to_the_end(made):
        for _ in range(4):
            made.resume()

    events = record(turn, resume_to_the_end, coroutine(work))
    inside = [("call", "work"), *LEAF * 3, ("return", "work")]
    expected = inside if mode == "frames" else []
    assert events == [("call", "resume_to_the_end"), *expected, ("return", "resume_to_the_end")]


@SETTERS
def test_set_while_a_coroutine_is_suspended_it_sees_its_next_calls(coroutine, mode, turn):
    made = coroutine(work)
    made.resume()
    events = record(turn, made.resume)
    assert events == (LEAF if mode == "frames" else [])
    assert record(turn, leaf) == LEAF
    made.close()


@SETTERS
def test_set_inside_it_is_the_threads_or_the_coroutines(coroutine, mode, turn):
    recorder = Recorder()

    def inside():
        turn(recorder)
        leaf()
        suspend()
        leaf()
        turn(None)

    made = coroutine(inside)
    made.resume()
    leaf()
    made.resume()
    assert recorder.events == LEAF * (3 if mode == "frames" else 2)
    assert sys.gettrace() is None
    assert sys.getprofile() is None


def test_the_resumer_is_traced_while_a_trace_function_is_suspended(coroutine):
    """Inside a trace function CPython traces nothing: that goes with the stack."""
    events, suspended = [], []

    def trace(frame, event, argument):
        if frame.f_code is leaf.__code__ and not suspended:
            suspended.append(True)
            suspend("in the trace function")
        elif frame.f_code.co_filename == HERE:
            events.append((event, frame.f_code.co_name))

    def traced():
        sys.settrace(trace)
        leaf()
        leaf()
        return "end"

    def native():
        pass

    made = coroutine(traced)
    assert made.resume() == "in the trace function"
    sys.settrace(trace)
    native()
    sys.settrace(None)
    assert events == [("call", "native")]
    assert made.resume() == "end"
    assert len(suspended) == 1


@SETTERS
def test_no_code_stays_instrumented_for_a_coroutine_that_is_done(coroutine, mode, turn):
    def probe():
        return 1

    def inside():
        turn(Recorder())
        probe()

    coroutine(inside).resume()
    if mode == "frames":
        turn(None)
    probe()
    names = [instruction.opname for instruction in dis.get_instructions(probe, adaptive=True)]
    assert [name for name in names if name.startswith("INSTRUMENTED")] == []


if sys.version_info >= (3, 12):
    EVENTS = sys.monitoring.events
    TOOL = 4

    @pytest.fixture
    def monitored():
        """Turn monitoring on with monitored(True), off with monitored(False); its events in order."""
        seen = []

        def see(event):
            def callback(code, *_):
                if code.co_filename == HERE and code.co_name in ("leaf", "work", "straight"):
                    seen.append((event, code.co_name))

            return callback

        def turn(on):
            sys.monitoring.set_events(TOOL, events if on else 0)
            taken = seen[:]
            seen.clear()
            return taken

        sys.monitoring.use_tool_id(TOOL, "tests")
        events = 0
        for event in ("PY_START", "PY_RETURN", "CALL"):
            events |= getattr(EVENTS, event)
            sys.monitoring.register_callback(TOOL, getattr(EVENTS, event), see(event))
        yield turn
        sys.monitoring.set_events(TOOL, 0)
        sys.monitoring.free_tool_id(TOOL)

    def straight():
        suspend()
        leaf()
        suspend()
        return 1

    CALLED = [("PY_START", "leaf"), ("PY_RETURN", "leaf")]

    def test_monitoring_sees_a_coroutine_that_starts_while_it_is_on(coroutine, monitored):
        made = coroutine(straight)
        monitored(True)
        while not made.done:
            made.resume()
        call = ("CALL", "straight")
        assert monitored(False) == [
            *(("PY_START", "straight"), call, call, *CALLED, call),
            ("PY_RETURN", "straight"),
        ]

    def test_turned_on_while_suspended_frames_are_not_seen_until_their_code_is_called(monitored):
        """CPython instruments code that runs on a thread, or when it is called next."""
        made, other = Coroutine(straight), Coroutine(straight)
        made.resume()
        monitored(True)
        made.resume()
        assert monitored(True) == CALLED
        other.resume()
        monitored(True)
        made.resume()
        assert monitored(False) == [("PY_RETURN", "straight")]
        other.close()

    def test_turned_on_while_suspended_thread_states_of_their_own_are_seen_at_once(monitored):
        made = Coroutine(straight, isolation="thread-state")
        made.resume()
        monitored(True)
        made.resume()
        made.resume()
        call = ("CALL", "straight")
        assert monitored(False) == [call, *CALLED, call, ("PY_RETURN", "straight")]

    def test_turned_off_while_suspended_frames_are_seen_until_their_code_is_called(monitored):
        made = Coroutine(straight)
        monitored(True)
        made.resume()
        monitored(False)
        made.resume()
        assert monitored(False) == [("CALL", "straight")] * 2
        Coroutine(straight).resume()
        made.resume()
        assert monitored(False) == []

    def test_monitoring_may_be_turned_on_and_off_at_any_time(coroutine, monitored):
        crowd = []
        for number in range(60):
            monitored(number % 3 == 0)
            crowd.append(coroutine(work if number % 2 else straight))
            for one in crowd[:: number % 5 + 1]:
                if not one.done:
                    one.resume()
        for one in crowd:
            one.close()
