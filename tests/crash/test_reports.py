"""An overrun stack is named before the process dies, and whoever reported before still does."""

import re
import textwrap

import pytest

SIGSEGV = -11
KIB = 1024

START = """
    import faulthandler, os, signal, sys, threading
    import capi_probe as probe, depth_probe
    import stackwarden
    from stackwarden import disable_crash_reports, enable_crash_reports

    def overrun():
        depth_probe.recurse("none", 512)

    def in_thread(function):
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()

    def on_coroutine(function):
        from stackwarden.adapters.ucontext import Coroutine
        Coroutine(function, stack_size=256 << 10).resume()

    def on_registered(function):
        size = 256 << 10
        guard = probe.map_memory(size + 4096)
        probe.forbid(guard, 4096)
        stackwarden.register_stack(guard + 4096, size, name="fiber 7", system="my-runtime")
        probe.call_on(guard + 4096, size, function)

    def told_there(function):
        stackwarden.current_stack()
        function()
"""
FAULTHANDLER = "Fatal Python error: Segmentation fault"


@pytest.fixture
def errors_of(child, diver):
    """errors_of(program, ends=SIGSEGV): what it wrote to standard error before it died."""

    def run(program, *, ends=SIGSEGV, before="faulthandler.enable(); enable_crash_reports()"):
        program = "\n".join([textwrap.dedent(START), before, textwrap.dedent(program)])
        return child(program, ends=ends).stderr

    return run


def reports_in(errors):
    form = (
        r"stackwarden: SIGSEGV: (.+) is overrun by (\d+) bytes\n"
        r"  (0x[0-9a-f]{16}) to (0x[0-9a-f]{16}), (\d+) bytes, bounds (\w+), thread (0x[0-9a-f]{16})\n"
    )
    return re.findall(form, errors)


PLACES = {
    "on_coroutine(overrun)": ("a stack of ucontext", "told", 256 * KIB),
    "on_registered(overrun)": ('the stack "fiber 7" of my-runtime', "told", 256 * KIB),
    "overrun()": ("the thread's native stack", "native", None),
    "in_thread(lambda: told_there(overrun))": ("the thread's native stack", "native", None),
    "in_thread(lambda: on_coroutine(overrun))": ("a stack of ucontext", "told", 256 * KIB),
    "in_thread(lambda: (enable_crash_reports(), overrun()))": (
        "the thread's native stack",
        "native",
        None,
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_report_says_which_stack_and_the_traceback_follows(errors_of, place):
    errors = errors_of(place)
    (found,) = reports_in(errors)
    what, by, base, top, size, bounds_from, thread = found
    expected, expected_from, expected_size = PLACES[place]
    assert what == expected
    assert bounds_from == expected_from
    assert int(top, 16) - int(base, 16) == int(size)
    assert expected_size in (None, int(size))
    assert 0 < int(by) <= 8 * KIB
    rest = errors.partition(thread + "\n")[2]
    assert rest.startswith(FAULTHANDLER)
    assert "in overrun" in rest
    assert f"Current thread {thread}" in rest


@pytest.mark.parametrize("place", PLACES)
def test_without_it_nothing_is_said_of_stacks(errors_of, place):
    errors = errors_of(place.replace("enable_crash_reports()", "0"), before="faulthandler.enable()")
    assert "stackwarden" not in errors.partition("File")[0]


def test_without_faulthandler_the_report_stands_alone(errors_of):
    before = "faulthandler.disable(); enable_crash_reports()"
    errors = errors_of("on_registered(overrun)", before=before)
    assert len(reports_in(errors)) == 1
    assert FAULTHANDLER not in errors


def test_it_can_be_taken_back(errors_of):
    is_on = "assert stackwarden.status()['crash_reports']"
    before = f"faulthandler.enable(); enable_crash_reports(); {is_on}; disable_crash_reports()"
    errors = errors_of(
        "assert not stackwarden.status()['crash_reports']; on_registered(overrun)", before=before
    )
    assert not reports_in(errors)


def test_faulthandler_may_come_later_when_it_is_asked_for_again(errors_of):
    before = "enable_crash_reports(); faulthandler.enable(); enable_crash_reports()"
    errors = errors_of("on_registered(overrun)", before=before)
    assert len(reports_in(errors)) == 1
    assert errors.count(FAULTHANDLER) >= 1


def test_who_was_there_before_is_called(errors_of):
    before = "depth_probe.exit_on_faults(); enable_crash_reports()"
    assert len(reports_in(errors_of("on_registered(overrun)", before=before, ends=42))) == 1


@pytest.mark.parametrize(
    "program",
    [
        "depth_probe.write_to(8)",
        "os.kill(os.getpid(), signal.SIGSEGV); signal.pause()",
        "faulthandler._sigsegv()",
        "on_registered(lambda: depth_probe.write_to(8))",
        # below the end of a stack that nobody is on: a stray pointer
        "on_registered(int); depth_probe.write_to(stackwarden.stacks()[-1].base - 16)",
    ],
)
def test_other_faults_are_none_of_its_business(errors_of, program):
    errors = errors_of(program)
    assert not reports_in(errors)
    assert FAULTHANDLER in errors


def test_it_is_off_until_it_is_asked_for(errors_of):
    program = "assert not stackwarden.status()['crash_reports']; on_registered(overrun)"
    assert not reports_in(errors_of(program, before="faulthandler.enable()"))


def test_threads_give_their_stacks_back(child, diver):
    done = child(
        textwrap.dedent(START)
        + textwrap.dedent("""
        from stackwarden.testing.workloads import resident_bytes

        def mappings():
            return sum(1 for _ in open("/proc/self/maps"))

        enable_crash_reports()
        for _ in range(50):
            in_thread(stackwarden.current_stack)
        before = mappings()
        for _ in range(200):
            in_thread(stackwarden.current_stack)
        print(mappings() - before < 20)
    """)
    )
    assert done.stdout == "True\n"
