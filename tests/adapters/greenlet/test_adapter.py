"""The adapter of greenlet: what it hooks and gives back, its records, and its refusals.

Each test that installs the adapter runs in a child, because greenlet's entries belong to the process. Programs let
go of greenlets that are suspended: one that is left when the interpreter ends is not unwound, without the adapter
neither, and what its frames hold leaks (tests/sanitizers).
"""

import sys
import textwrap

import pytest

from availability import unavailable

try:
    import greenlet  # noqa: F401
except ImportError as error:
    unavailable("greenlet", str(error))

PRELUDE = """
import gc, sys, threading
from greenlet import getcurrent, gettrace, greenlet, settrace
import stackwarden
from stackwarden import adapters

def ping(times):
    for _ in range(times):
        getcurrent().parent.switch()
"""
INSTALLED = (
    PRELUDE
    + """
adapters.install("greenlet")
from stackwarden.adapters.greenlet import record_of, records
"""
)


@pytest.fixture
def run(child):
    def lines(program, prelude=INSTALLED, **options):
        return child(prelude + textwrap.dedent(program), **options).stdout.splitlines()

    return lines


# ---- records ----


def test_a_record_tells_name_place_switches_and_stack(run):
    assert run("""
        def work(depth):
            if depth:
                list(map(work, [depth - 1]))
            else:
                getcurrent().parent.switch()

        worker, line = greenlet(work), sys._getframe().f_lineno
        record = record_of(worker)
        print(record.name, record.made_at == ("<string>", line, "<module>"))
        print(record.switches, record.stack_used, record.stack_base)
        worker.switch(0)
        shallow = record.stack_used
        print(record.name, record.switches, 0 < shallow < 65536, record.stack_saved > 0)
        print(record.stack_base == stackwarden.current_stack().base)
        worker.switch()
        print(record.switches, worker.dead, record.stack_used, record.high_water == shallow)

        deep = greenlet(work)
        deep.switch(20)
        print(record_of(deep).stack_used > shallow + 20 * 300)
        print(record_of(getcurrent()).name, record_of(getcurrent()).stack_used > 0)
        del deep
    """) == [
        "work True",
        "0 0 None",
        "work 1 True True",
        "True",
        "2 True 0 True",
        "True",
        "main True",
    ]  # fmt: skip


def test_a_record_dies_with_its_greenlet_and_not_before(run):
    assert run("""
        before = len(records())
        many = [greenlet(ping) for _ in range(1000)]
        for one in many[::2]:
            one.switch(1)
        print(len(records()) - before, {record_of(one).greenlet is one for one in many})
        last = record_of(many[-1])
        del many[:900], one
        print(len(records()) - before, all(record.greenlet is not None for record in records()))
        many.clear()
        print(len(records()) - before, last.greenlet, last.stack_used, last.switches)
    """) == ["1001 {True}", "101 True", "1 None 0 0"]  # fmt: skip


def test_greenlets_that_were_made_before_have_records_too(run):
    assert run("""
        begun, new = greenlet(ping), greenlet(ping)
        begun.switch(5)
        adapters.install("greenlet")
        from stackwarden.adapters.greenlet import record_of, records
        print({record.greenlet for record in records()} == {begun, new, getcurrent()})
        begun.switch()
        new.switch(5)
        new.switch()
        for one in (begun, new):
            record = record_of(one)
            print(record.name, record.switches, record.made_at, record.stack_used is None)
        print(gettrace())
        try:
            record_of(print)
        except TypeError as error:
            print(error)
        del begun, new, one
    """, prelude=PRELUDE) == [
        "True",
        "ping 1 None True",
        "ping 2 None False",
        "None",
        "record_of() takes a greenlet, not builtin_function_or_method",
    ]  # fmt: skip


def test_subclasses_from_before_and_after_have_records_with_their_names(run):
    assert run("""
        class Before(greenlet):
            name = "before"

        class Child(Before):
            def __new__(cls, *args):
                return super().__new__(cls)

            def __init__(self, run):
                super().__init__(run)
                self.name = "child"

        adapters.install("greenlet")
        from stackwarden.adapters.greenlet import record_of

        class After(Child):
            name = 3  # not a string: not a name

        for kind in (Before, Child, After):
            one = kind(ping)
            one.switch(1)
            print(record_of(one).name, record_of(one).made_at[2], record_of(one).switches)
        del one
    """, prelude=PRELUDE) == ["before <module> 1", "child Child.__new__ 1", "child Child.__new__ 1"]  # fmt: skip


def test_a_greenlet_that_is_killed_on_deallocation_takes_its_record_along(run):
    assert run("""
        def stubborn():
            try:
                getcurrent().parent.switch()
            finally:
                print(record_of(getcurrent()).switches)

        one = greenlet(stubborn)
        one.switch()
        before = len(records())
        del one
        print(len(records()) - before)

        saved = []
        def immortal():
            try:
                getcurrent().parent.switch()
            except BaseException:
                saved.append(getcurrent())
                getcurrent().parent.switch()

        one = greenlet(immortal)
        one.switch()
        del one
        print(saved[0].dead, len(records()) - before)
        saved[0].switch()
        print(saved[0].dead, len(records()) - before)
    """) == ["2", "-1", "False -1", "True 0"]  # fmt: skip


def test_records_of_greenlets_in_all_threads(run):
    assert run("""
        def work():
            one = greenlet(ping)
            for _ in range(1000):
                one.switch(10**9)
            found.append(record_of(one).switches)

        found = []
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(found)
    """) == ["[1000, 1000, 1000, 1000]"]  # fmt: skip


def test_a_thread_that_ran_before_needs_nothing(run):
    assert run("""
        def work():
            one = greenlet(ping)
            one.switch(3)
            made.set()
            installed.wait()
            one.switch()
            one.switch()
            print(adapters.greenlet.record_of(one).switches)

        made, installed = threading.Event(), threading.Event()
        thread = threading.Thread(target=work)
        thread.start()
        made.wait()
        adapters.install("greenlet")
        installed.set()
        thread.join()
    """, prelude=PRELUDE) == ["2"]  # fmt: skip


def test_what_goes_through_the_c_api_is_seen_too(run):
    """greenlet's own test extension uses it."""
    assert run("""
        import importlib.util, pathlib, greenlet as system
        (path,) = pathlib.Path(system.__file__).parent.glob("tests/_test_extension.*.so")
        spec = importlib.util.spec_from_file_location("_test_extension", path)
        extension = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(extension)

        def work():
            getcurrent().parent.switch()
            return record_of(getcurrent()).made_at[2]

        one = greenlet(work)
        extension.test_switch(one)
        print(record_of(one).switches, record_of(one).stack_used > 0)
        print(extension.test_switch(one), record_of(one).switches)
        print(extension.test_new_greenlet(lambda: record_of(getcurrent()).made_at[2]))
        try:
            extension.test_throw_exact(greenlet(work), KeyError, KeyError("thrown"), None)
        except KeyError as error:
            print(repr(error))
    """) == ["1 True", "<module> 2", "<module>", "KeyError('thrown')"]  # fmt: skip


# ---- greenlet goes on as it was ----


def test_results_arguments_and_exceptions_pass_unchanged(run):
    assert run("""
        def work(*args, **kwargs):
            print(args, kwargs)
            print(getcurrent().parent.switch(1, 2))
            try:
                getcurrent().parent.switch()
            except KeyError as error:
                print(repr(error))
            raise ValueError("out")

        one = greenlet(work)
        print(one.switch(1, key=2))
        print(one.switch(key="word"))
        try:
            one.throw(KeyError("in"))
        except ValueError as error:
            print(repr(error), one.dead)
        try:
            greenlet.switch(3)
        except TypeError as error:
            print("descriptor" in str(error))
        print(greenlet(work).throw())
    """) == [
        "(1,) {'key': 2}", "(1, 2)", "{'key': 'word'}", "()", "KeyError('in')",
        "ValueError('out') True", "True", "",
    ]  # fmt: skip


def test_no_line_of_ours_is_in_a_traceback(run):
    """What is raised inside, by a tracer of somebody else's, and by us."""
    assert run("""
        import traceback

        def names(function, *arguments):
            try:
                function(*arguments)
            except Exception as error:
                return [frame.name for frame in traceback.extract_tb(error.__traceback__)]

        def fails(*event):
            raise KeyError

        def sets_a_budget():
            record_of(getcurrent()).budget = "nonsense"

        print(names(greenlet(fails).switch), names(greenlet(fails).throw, ValueError))
        settrace(fails)
        print(names(greenlet(ping).switch, 1), names(record_of, 1))
        print(names(sets_a_budget))
    """) == [
        "['names', 'fails'] ['names']",
        "['names', 'fails'] ['names', 'record_of']",
        "['names', 'sets_a_budget'%s]" % (", 'size_of'" if sys.version_info >= (3, 14) else ""),
    ]  # fmt: skip


def test_a_tracer_is_kept_the_one_from_before_and_the_one_set_later(run):
    assert run("""
        import greenlet as module

        def first(event, greenlets):
            events.append(("first", event, greenlets))

        def second(event, greenlets):
            events.append(("second", event, greenlets))

        events = []
        settrace(first)
        adapters.install("greenlet")
        main, one = getcurrent(), greenlet(ping)
        one.switch(1)
        print(events == [("first", "switch", (main, one)), ("first", "switch", (one, main))])
        print(gettrace() is first, module.greenlet.gettrace() is first, settrace(second) is first)
        events.clear()
        try:
            one.throw(KeyError)
        except KeyError:
            print(events == [("second", "throw", (main, one)), ("second", "throw", (one, main))])
        print(gettrace() is second)
        adapters.uninstall("greenlet")
        print(gettrace() is second, settrace(None) is second, gettrace())
    """, prelude=PRELUDE) == ["True", "True True True", "True", "True", "True True None"]  # fmt: skip


def test_a_tracer_that_raises_is_removed_and_the_adapter_stays(run):
    assert run("""
        def fails(event, greenlets):
            raise KeyError("tracer")

        settrace(fails)
        one = greenlet(ping)
        try:
            one.switch(3)
        except KeyError:
            print(gettrace(), one.dead)
        two = greenlet(ping)
        two.switch(3)
        two.switch()
        print(record_of(two).switches)
        del two
    """) == ["None True", "2"]  # fmt: skip


def test_uninstalled_it_leaves_greenlet_as_it_was(run):
    assert run("""
        class Kind(greenlet):
            pass

        inside = greenlet(ping)
        inside.switch(3)
        adapters.uninstall("greenlet")
        inside.switch()
        one = Kind(ping)
        one.switch(1)
        one.switch()
        print(one.dead, len(adapters.greenlet._greenlet.records()))
        try:
            records()
        except stackwarden.StackwardenError as error:
            print(error)
        adapters.install("greenlet")
        inside.switch()
        print(record_of(inside).switches, Kind(ping).switch(1))
        del inside
    """) == [
        "True 0",
        'the adapter "greenlet" is not installed: stackwarden.adapters.install("greenlet")',
        "1 ()",
    ]  # fmt: skip


def test_greenlets_are_made_and_switched_to_while_modules_are_torn_down(run):
    assert run("""
        class Late:
            made, printed = greenlet, print

            def __del__(self):
                self.printed(self.made(lambda: "still switching").switch())

        sys.modules["late"] = Late()
    """) == ["still switching"]  # fmt: skip


# ---- clear errors, and nothing half installed ----


@pytest.mark.parametrize(
    ("broken", "error", "says"),
    [
        ("sys.modules['greenlet'] = None", "SystemMissingError", "pip install greenlet"),
        ("import greenlet as g; g.__version__ = '2.0.2'", "SystemTooOldError", "2.0.2"),
        ("import greenlet as g; del g._C_API", "SystemUnfitError", "C API"),
        ("import greenlet as g; g.settrace = print", "SystemUnfitError", "settrace"),
        ("import greenlet as g; g.gettrace = lambda: None", "SystemUnfitError", "gettrace"),
    ],
)
def test_a_system_that_does_not_do_is_refused(run, broken, error, says):
    assert run(f"""
        switch = greenlet.switch
        try:
            {broken}
            adapters.install("greenlet")
        except stackwarden.errors.{error} as error:
            print({says!r} in str(error), adapters.installed(), settrace(None))
    """, prelude=PRELUDE) == ["True [] None"]  # fmt: skip


def test_it_is_found_when_greenlet_is_loaded(run):
    assert run("""
        import stackwarden
        from stackwarden import adapters
        import sys
        print("greenlet" in adapters.available(), "greenlet" in adapters.install_loaded())
        import greenlet
        print("greenlet" in adapters.install_loaded(), adapters.installed())
    """, prelude="") == ["True False", "True ['greenlet']"]  # fmt: skip


def test_greenlets_of_other_threads_are_left_to_greenlet(child):
    """Of threads that live, and that have ended, on stacks above and below: greenlet.error, as without."""
    program = """
        import threading
        import greenlet

        made, ready, over = [], threading.Event(), threading.Event()

        def make():
            made.append(greenlet.greenlet(lambda: greenlet.getcurrent().parent.switch()))
            made[-1].switch()

        def on_thread():
            make()
            ready.set()
            over.wait()
            said(made[0].switch)
            said(made[0].throw, KeyError)

        def said(function, *args):
            try:
                function(*args)
            except BaseException as error:
                print(type(error))

        make()
        thread = threading.Thread(target=on_thread)
        thread.start()
        ready.wait()
        said(made[1].switch)
        over.set()
        thread.join()
        said(made[1].switch)
        said(made[1].throw, KeyError)
        """
    program = textwrap.dedent(program)
    with_ours = "from stackwarden import adapters\nadapters.install('greenlet')\n" + program
    assert child(with_ours).stdout == child(program).stdout == "<class 'greenlet.error'>\n" * 5
