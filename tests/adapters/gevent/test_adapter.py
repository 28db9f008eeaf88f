"""The adapter of gevent: bounds and records for every hub, Greenlet and worker; beside gevent's own tools.

Each test runs in a child, because hubs and patches belong to a process.
"""

import sys
import textwrap
from pathlib import Path

import pytest

from availability import unavailable
from stackwarden.testing import child
from stackwarden.testing.workloads import WORKLOADS

try:
    import gevent  # noqa: F401
except ImportError as error:
    unavailable("gevent", str(error))

HUB_BEGUN = Path(__file__).with_name("hub_begun.py")
SIZE = 256 * 1024
PATCH = "from gevent import monkey; monkey.patch_all()\n"
INSTALL = """
import sys
import stackwarden
from stackwarden import adapters
adapters.install("gevent")
from stackwarden.adapters.gevent import record_of, records, wrap
"""
# end(): until CPython 3.13 a thread that asks for the GIL while Python ends unwinds its stack, where parts of
# other greenlets lie: SIGSEGV, with gevent alone too. So the workers end first.
IMPORTS = """
import os
import gevent, gevent.hub, gevent.monkey, gevent.util
from gevent.threadpool import ThreadPool
start_new_thread = gevent.monkey.get_original("_thread", "start_new_thread")

def work(times):
    for _ in range(times):
        gevent.sleep()

def end(pool):
    pool.kill()
    while len(os.listdir("/proc/self/task")) > 1:
        gevent.sleep(0.001)

def by_name(name):
    return [record for record in records() if record.name == name]
"""
ORDERS = {
    "plain": INSTALL + IMPORTS,
    "patched before": PATCH + INSTALL + IMPORTS,
    "patched after": INSTALL + PATCH + IMPORTS,
}


@pytest.fixture
def run(child):
    def lines(program, prelude=INSTALL + IMPORTS, **variables):
        return child(prelude + textwrap.dedent(program), **variables).stdout.splitlines()

    return lines


def end_of(workload: str, adapter: str) -> child.End:
    return child.wait(child.start_python(HUB_BEGUN, workload, str(SIZE), adapter))


# ---- bounds ----


@pytest.mark.parametrize("workload", WORKLOADS)
def test_greenlets_of_a_hub_that_began_on_a_foreign_stack_are_protected(workload):
    end = end_of(workload, "yes")
    assert end.outcome == WORKLOADS[workload].expected, end.errors
    assert end.report["stack_base"] + SIZE <= end.report["native_base"]
    assert end.report["afterwards"] == {"add": "RecursionError", "containers": "freed"}


@pytest.mark.parametrize("workload", ["add", "repr"])
def test_unprotected_twin(workload):
    """3.11 to 3.13 count calls, and greenlet takes the counters along."""
    counted = sys.version_info < (3, 14)
    end = end_of(workload, "no")
    assert end.outcome == (WORKLOADS[workload].expected if counted else "SIGSEGV"), end.errors


# ---- records ----


@pytest.mark.parametrize("order", ORDERS)
def test_records_tell_name_and_place_of_greenlets_hubs_and_workers(run, order):
    assert run("""
        def spawn():
            one = gevent.spawn(work, 3)
            one.name = "mine"
            return one, gevent.spawn_raw(work, 3), gevent.pool.Pool(2).spawn(work, 3)

        import gevent.pool
        found = spawn()
        gevent.sleep()
        for record in map(record_of, found):
            print(record.name.rstrip("0123456789"), record.spawned_at[2], record.switches > 0,
                  record.stack_used > 0, record.stack_saved > 0, record.high_water > 0)
        print(len(by_name("Hub.run")), record_of(gevent.get_hub()).switches > 0)
    """, prelude=ORDERS[order]) == [
        "mine spawn True True True True",
        "work spawn True True True True",
        "Greenlet- spawn True True True True",
        "1 True",
    ]  # fmt: skip


def test_greenlets_from_before_install_have_records(run):
    assert run("""
        import gevent

        def work(times):
            for _ in range(times):
                gevent.sleep()

        early, late = gevent.spawn(work, 9), gevent.spawn(work, 9)
        early.name, late.name = "early", "late"
        gevent.sleep()
        from stackwarden import adapters
        adapters.install("gevent")
        from stackwarden.adapters.gevent import record_of
        before = record_of(early).switches
        gevent.joinall([early, late])
        for one in (early, late):
            record = record_of(one)
            print(record.name, record.spawned_at[2], record.switches - before)
        print(record_of(gevent.get_hub()).switches > 9)
    """, prelude="") == ["early <module> 9", "late <module> 9", "True"]  # fmt: skip


@pytest.mark.parametrize("order", ORDERS)
def test_hubs_and_workers_of_other_threads_have_records(run, order):
    assert run("""
        def in_worker():
            one = gevent.spawn(work, 5)
            one.join()
            return record_of(one).switches, record_of(gevent.get_hub()).switches > 5

        pool = ThreadPool(2)
        print(pool.apply(in_worker), pool.apply(in_worker))
        print(len(by_name("_WorkerGreenlet")), len(by_name("ThreadPool Worker Hub")))
        end(pool)
    """, prelude=ORDERS[order]) == ["(6, True) (6, True)", "1 1"]  # fmt: skip


def test_records_die_with_their_greenlets(run):
    assert run("""
        import gc
        gevent.joinall([gevent.spawn(work, 1) for _ in range(10)])
        gc.collect()
        before = len(records())
        gevent.joinall([gevent.spawn(work, 1) for _ in range(100)])
        gc.collect()
        print(len(records()) - before)
    """) == ["0"]  # fmt: skip


# ---- beside gevent's own tools ----


def test_print_run_info_shows_the_figures(run):
    lines = run("""
        one = gevent.spawn(work, 5)
        one.name = "mine"
        gevent.sleep()
        gevent.util.print_run_info(thread_stacks=False, file=sys.stdout)
        print("----")
        adapters.uninstall("gevent")
        gevent.util.print_run_info(thread_stacks=False, file=sys.stdout)
    """)
    installed, uninstalled = lines[: lines.index("----")], lines[lines.index("----") :]
    (mine,) = [line for line in installed if line.startswith("mine: ")]
    assert " in use, " in mine
    assert " switches, spawned at <string>:" in mine
    assert "* Stacks (bytes, by stackwarden)" in installed
    assert not [line for line in uninstalled if "stackwarden)" in line or line.startswith("mine: ")]


def test_it_works_beside_the_monitor_thread(run):
    assert run(
        """
        hub = gevent.get_hub()
        gevent.config.monitor_thread = True
        tracer = hub.start_periodic_monitoring_thread()._greenlet_tracer
        from greenlet import gettrace
        print(gettrace() is tracer)
        one = gevent.spawn(work, 5)
        one.join()
        print(tracer.greenlet_switch_counter > 5, record_of(one).switches)
        hub.periodic_monitoring_thread.kill()
        print(gettrace())
        one = gevent.spawn(work, 5)
        one.join()
        print(record_of(one).switches)
        """,
        GEVENT_MAX_BLOCKING_TIME="1000",
    ) == ["True", "True 6", "None", "6"]  # fmt: skip


def test_a_wrapped_pool_runs_its_tasks_as_before(run):
    assert run("""
        class Mine(ThreadPool):
            def twice(self, number):
                return self.apply(lambda: 2 * number)

        pool = Mine(2)
        print(wrap(pool) is pool, wrap(pool) is pool, isinstance(pool, Mine), type(pool).__name__)
        print(pool.apply(pow, (2, 5)), pool.spawn(int, "12", base=3).get(), pool.twice(4))
        print(pool.map(abs, [-1, -2]), list(pool.imap_unordered(abs, [-3])))
        try:
            pool.apply(int, ("x",))
        except ValueError as error:
            print(error)
        try:
            wrap(print)
        except TypeError as error:
            print(error)
        end(pool)
    """) == [
        "True True True Mine",
        "32 5 8",
        "[1, 2] [3]",
        "invalid literal for int() with base 10: 'x'",
        "wrap() takes a gevent.threadpool.ThreadPool, not builtin_function_or_method",
    ]  # fmt: skip


# ---- installing ----


def test_it_brings_greenlets_adapter_and_takes_it_away_only_if_it_did(run):
    assert run("""
        print(adapters.installed())
        adapters.uninstall("gevent")
        print(adapters.installed())
        try:
            records()
        except stackwarden.StackwardenError as error:
            print(error)
        adapters.install("greenlet")
        adapters.install("gevent")
        adapters.uninstall("gevent")
        print(adapters.installed())
        adapters.install("gevent")
        adapters.uninstall("greenlet")
        adapters.uninstall("gevent")
        print(adapters.installed())
    """) == [
        "['gevent', 'greenlet']",
        "[]",
        'the adapter "gevent" is not installed: stackwarden.adapters.install("gevent")',
        "['greenlet']",
        "[]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("broken", "error", "says"),
    [
        ("sys.modules['gevent'] = None", "SystemMissingError", "pip install gevent"),
        ("import gevent; gevent.__version__ = '22.10.2'", "SystemTooOldError", "22.10.2"),
        ("import greenlet; greenlet.__version__ = '2.0.2'", "SystemTooOldError", "greenlet 2.0.2"),
        ("import gevent.util; del gevent.util.format_run_info", "SystemUnfitError", "run_info"),
    ],
)
def test_a_system_that_does_not_do_is_refused(run, broken, error, says):
    assert run(f"""
        import sys
        import stackwarden
        from stackwarden import adapters
        {broken}
        try:
            adapters.install("gevent")
        except stackwarden.errors.{error} as error:
            print({says!r} in str(error), adapters.installed())
    """, prelude="") == ["True []"]  # fmt: skip


def test_a_handler_that_waits_on_a_foreign_stack_is_refused(run):
    assert run("""
        from stackwarden.adapters.ucontext import Coroutine

        def handler():
            try:
                gevent.sleep(0.001)
            except stackwarden.IsolationRequiredError as error:
                return "greenlet cannot switch across stacks" in str(error)

        gevent.sleep(0)
        print(Coroutine(handler).resume(), stackwarden.sync_stack().bounds_from)
        gevent.sleep(0.002)
        worker = gevent.spawn(work, 3)
        worker.join()
        print(worker.successful())
    """) == ["True native", "True"]  # fmt: skip
