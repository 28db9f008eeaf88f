"""A switch callback that suspends the stack it runs on: nobody else waits for it."""

import sys

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from stackwarden.testing.child import in_thread


@pytest.fixture(autouse=True)
def nothing_is_reported(monkeypatch):
    reports = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)
    yield
    assert reports == []


@pytest.fixture(params=["Python", "C"])
def register(request, probe):
    """register(function): a switch callback in Python or C that calls function()."""
    used = []

    def add(function):
        if request.param == "C":
            assert probe.register_callback(0, True, False, 0, 0, function) == 0
            used.append(lambda: (probe.unregister_callback(0), function))
        else:
            callback = lambda old, new: function()  # noqa: E731
            stackwarden.register_switch_callback(callback, all_threads=True)
            used.append(lambda: stackwarden.unregister_switch_callback(callback))

    yield add
    for end in used:
        end()


def waits_once(log):
    """A function that notes its calls, and suspends in the first one."""

    def function():
        log.append("called")
        if log == ["called"]:
            log.append(suspend("in the callback"))

    return function


def test_other_switches_are_told_meanwhile(coroutine, register):
    log = []
    made, others = coroutine(suspend, "its own"), [coroutine(suspend) for _ in range(3)]
    register(waits_once(log))
    assert made.resume() == "in the callback"
    for other in others:
        del log[1:]
        other.resume()
        other.resume()
        assert log == ["called"] * 5
    assert made.resume("resumed") == "its own"
    assert "resumed" in log
    assert made.resume("end") == "end"


def test_closing_ends_it_before_it_begins(coroutine, register):
    log, ran = [], []
    made = coroutine(ran.append, "began")
    register(waits_once(log))
    made.resume()
    made.close()
    assert (made.done, ran) == (True, [])


def test_dropping_does_the_same(coroutine, register):
    log, ran = [], []
    made = coroutine(ran.append, "began")
    register(waits_once(log))
    made.resume()
    del made
    assert ran == []


def test_closing_ends_it_where_it_went_on(coroutine, register):
    log, left = [], []

    def work():
        try:
            suspend("once")
            left.append("went on")
        finally:
            left.append("finally")

    made = coroutine(work)
    made.resume()
    register(waits_once(log))
    assert made.resume() == "in the callback"
    made.close()
    assert (made.done, left) == (True, ["finally"])


def test_what_is_thrown_is_the_callbacks_to_catch(coroutine):
    caught = []

    def callback(old, new):
        if not caught:
            caught.append(None)
            try:
                suspend()
            except KeyError as error:
                caught.append(error)

    made = coroutine(suspend, "its own")
    stackwarden.register_switch_callback(callback)
    try:
        made.resume()
        error = KeyError()
        assert made.throw(error) == "its own"
    finally:
        stackwarden.unregister_switch_callback(callback)
    assert caught == [None, error]
    made.close()


def test_one_that_starts_coroutines_is_not_called_for_these(coroutine, register):
    started, calls = [], []

    def start():
        calls.append(1)
        if len(calls) < 100:
            started.append(coroutine(lambda: list(coroutine(suspend, suspend()))))
            started[-1].resume()
            started[-1].resume("inside")

    made = coroutine(int)
    register(start)
    made.resume()
    assert len(calls) <= 3
    assert started[0].done


def test_what_it_started_is_told_of_once_it_has_returned(coroutine, register):
    calls, started = [], []

    def start():
        calls.append(1)
        if not started:
            started.append(coroutine(suspend))
            started[0].resume()

    register(start)
    coroutine(int).resume()
    del calls[:]
    started[0].resume()
    assert len(calls) == 2


if "thread-state" in stackwarden.status()["isolation"]:

    def test_it_may_go_on_on_another_thread(register):
        log, results = [], []
        made = Coroutine(suspend, "its own", isolation="thread-state")
        register(waits_once(log))
        assert made.resume() == "in the callback"
        del log[1:]
        in_thread(lambda: results.append(made.resume("moved")))
        assert (results, log.count("moved")) == (["its own"], 1)
        del log[1:]
        assert made.resume("end") == "end"
        assert log == ["called"] * 3
