"""`python -m stackwarden demo`: what it runs, what it shows, and its exit status.

One test runs the real thing; the others put prepared ends in the place of its child processes.
"""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner

import children
import stackwarden
from stackwarden._cli import commands, demo_runs
from stackwarden.testing import child
from stackwarden.testing.workloads import WORKLOADS

DEFAULT_STACK_SIZE = max(256 * 1024, stackwarden.status()["exact_stack_size"])
MEMORY = {"resident_before": 20 << 20, "resident_after": 120 << 20}


def died(errors: str = "") -> child.End:
    return child.End("SIGSEGV", {"stack_base": 1, "native_base": 2}, errors)


def right(job: demo_runs.Job) -> child.End:
    outcome = job.workload.expected
    return child.End(outcome, {"outcome": outcome, **MEMORY}, "")


def mended(job: demo_runs.Job) -> child.End:
    """What everybody hopes for."""
    return right(job) if job.protected else died()


@pytest.fixture
def demo(monkeypatch):
    """Run the demo with prepared ends: demo(end_of_a_job, *arguments)."""

    def run(end_of, *arguments):
        monkeypatch.setattr(demo_runs, "_run", lambda job, stack_size: end_of(job))
        return CliRunner().invoke(commands, ["demo", *arguments])

    return run


def python(*arguments: str, **how) -> children.Done:
    return children.run(sys.executable, *arguments, **how)


@pytest.mark.slow
def test_real_demo_comes_out_right_and_prints_json_only():
    ran = python("-m", "stackwarden", "demo", "--json")
    assert ran.stderr == ""
    shown = json.loads(ran.stdout)
    assert shown["python"] == ".".join(map(str, sys.version_info[:3]))
    assert shown["executable"] == sys.executable
    assert shown["mechanism"] == stackwarden.status()["mechanism"]
    assert shown["stack_size"] == DEFAULT_STACK_SIZE
    assert shown["right"]
    cases = [(row["workload"], row["placement"]) for row in shown["rows"]]
    assert cases == [(name, where) for name in WORKLOADS for where in child.PLACEMENTS]
    for row in shown["rows"]:
        assert row["protected"]["outcome"] == WORKLOADS[row["workload"]].expected, row
        assert 0 < row["protected"]["resident_before"] <= row["protected"]["resident_after"], row


def test_real_unprotected_children_break_where_the_default_size_leaves_them_no_room():
    ends = [
        child.wait(
            child.start(
                "sorted", placement=placement, stack_size=DEFAULT_STACK_SIZE, protected=False
            )
        )
        for placement in child.PLACEMENTS
    ]
    assert [end.outcome for end in ends] == ["SIGSEGV", "SIGSEGV"]


def test_all_children_are_run_two_at_a_time(demo):
    together = threading.Barrier(demo_runs.SIDE_BY_SIDE, timeout=60)
    lock = threading.Lock()
    running, most, jobs = 0, 0, []

    def end_of(job):
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            jobs.append(job)
        together.wait()
        with lock:
            running -= 1
        return mended(job)

    assert demo(end_of).exit_code == 0
    assert most == demo_runs.SIDE_BY_SIDE == 2
    assert sorted(jobs) == sorted(
        demo_runs.Job(name, where, protected)
        for name in WORKLOADS
        for where in child.PLACEMENTS
        for protected in (False, True)
    )


def test_exit_status_is_0_when_protected_children_are_right_whatever_the_others_do(demo):
    for unprotected in (
        died(),
        child.End("out of time", {}, ""),
        child.End("exit status 1", {}, ""),
    ):
        shown = demo(lambda job, end=unprotected: right(job) if job.protected else end)
        assert shown.exit_code == 0
        assert "With stackwarden: 16 of 16 right." in shown.stdout


def test_exit_status_is_1_when_one_protected_child_is_wrong(demo):
    def end_of(job):
        return died("who knows why") if job == ("json", "above", True) else mended(job)

    shown = demo(end_of)
    assert shown.exit_code == 1
    assert shown.stdout.count("WRONG") == 1
    assert "With stackwarden: 15 of 16 right." in shown.stdout
    assert "who knows why" in shown.stdout
    assert demo(end_of, "--json").exit_code == 1


def test_unprotected_children_alone_cannot_make_it_right(demo):
    assert demo(lambda job: died() if job.protected else right(job)).exit_code == 1


def test_plain_output_says_on_what_it_runs_and_how_each_child_ended(demo):
    shown = demo(mended)
    lines = shown.stdout.splitlines()
    for fact in (
        f"CPython {stackwarden.status()['python']}",
        f"mechanism {stackwarden.status()['mechanism']}",
        f"stacks of {DEFAULT_STACK_SIZE // 1024} KiB",
    ):
        assert fact in lines[0]
    assert sum(" below  SIGSEGV " in line for line in lines) == 8
    assert sum(" above  SIGSEGV " in line for line in lines) == 8
    assert sum(line.endswith("ok") for line in lines) == 16
    assert sum("freed 20->120 MiB" in line for line in lines) == 4
    assert lines[-1] == "CPython alone: 16 of 16 died, 0 leaked. With stackwarden: 16 of 16 right."


def test_plain_output_is_ascii_that_fits_a_screen_of_24_lines_of_80(demo):
    shown = demo(mended)
    assert shown.stdout.isascii()
    assert "\x1b" not in shown.stdout
    lines = shown.stdout.splitlines()
    assert len(lines) < 24
    assert max(map(len, lines)) <= 80


def test_progress_goes_to_standard_error_with_a_line_for_each_child(demo):
    lines = demo(mended).stderr.splitlines()
    assert len(lines) == 32
    assert lines[-1].startswith("[32/32] ")
    assert "[ 1/32] " in lines[0]
    assert all(line.endswith(("SIGSEGV", "RecursionError", "MiB")) for line in lines)


def test_json_has_the_memory_of_children_that_lived_and_none_of_those_that_died(demo):
    shown = demo(mended, "--json")
    assert shown.stderr == ""
    for row in json.loads(shown.stdout)["rows"]:
        nothing = dict.fromkeys(MEMORY)
        assert row["unprotected"] == {"outcome": "SIGSEGV", **nothing}
        assert row["protected"] == {"outcome": row["expected"], **MEMORY}


IN_A_TERMINAL = """
import sys
from stackwarden._cli import commands, demo_runs
from stackwarden.testing import child

def end_of(job, stack_size):
    if not job.protected:
        return child.End("SIGSEGV", {}, "")
    report = {"outcome": job.workload.expected, "resident_before": 0, "resident_after": 0}
    return child.End(report["outcome"], report, "")

demo_runs._run = end_of
commands(["demo"])
"""


def test_terminal_gets_colours_and_moving_progress_that_goes_away():
    controller, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80"}
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        environment.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL], stdout=terminal, stderr=terminal, env=environment
    )
    os.close(terminal)
    shown = read_to_the_end(controller)
    assert process.wait() == 0
    assert "32/32" in shown
    assert "\x1b[" in shown
    # The last thing that the moving line does is to clear itself, before the table begins.
    table = shown.rpartition("\x1b[2K")[2]
    assert "/32" not in table
    assert table.count("SIGSEGV") == 16
    assert table.count("ok") == 16


def read_to_the_end(controller: int) -> str:
    """What was written to a terminal that all others have closed, which Linux tells by an error."""
    seen = io.BytesIO()
    try:
        while data := os.read(controller, 65536):
            seen.write(data)
    except OSError:
        pass
    os.close(controller)
    return seen.getvalue().decode()


@pytest.mark.parametrize(
    ("words", "size"),
    [("262144", 256 << 10), ("256K", 256 << 10), ("512k", 512 << 10), ("1M", 1 << 20)],
)
def test_stack_size_may_be_given_in_bytes_or_with_a_unit(demo, words, size):
    shown = demo(mended, "--json", "--stack-size", words)
    assert json.loads(shown.stdout)["stack_size"] == size


def test_children_get_the_stack_size(monkeypatch):
    sizes = set()

    def run(job, stack_size):
        sizes.add(stack_size)
        return mended(job)

    monkeypatch.setattr(demo_runs, "_run", run)
    CliRunner().invoke(commands, ["demo", "--stack-size", "1M"])
    assert sizes == {1 << 20}


@pytest.mark.parametrize("words", ["", "K", "x", "-1", "1.5M", "٣"])
def test_malformed_stack_size_is_refused(demo, words):
    shown = demo(mended, "--stack-size", words)
    assert shown.exit_code == 2
    assert f"stack_size {words!r}: not a size" in shown.stderr


@pytest.mark.parametrize("words", ["0", "1", "4K", "12 K", "2G", "2T"])
def test_stack_size_that_cannot_work_is_refused_with_the_limits(demo, words):
    shown = demo(mended, "--stack-size", words)
    assert shown.exit_code == 2
    assert str(stackwarden.status()["least_stack_size"]) in shown.stderr
    assert str(1 << 30) in shown.stderr


def test_stack_size_that_is_protected_by_estimate_is_named_as_such(demo):
    exact = stackwarden.status()["exact_stack_size"]
    assert "by estimate" in demo(mended, "--stack-size", str(exact // 2)).stdout
    assert "by estimate" not in demo(mended, "--stack-size", str(exact)).stdout


def test_interrupt_starts_no_more_children(monkeypatch):
    cancelled = threading.Event()
    started = []

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait=True, *, cancel_futures=False):
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def run(job, stack_size):
        started.append(job)
        if len(started) > 1:
            cancelled.wait(60)
        return mended(job)

    def interrupt(job, end):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo_runs, "_run", run)
    monkeypatch.setattr(demo_runs, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        demo_runs.run_all(DEFAULT_STACK_SIZE, interrupt)
    assert len(started) <= 1 + demo_runs.SIDE_BY_SIDE


def test_it_says_so_when_nothing_protects_this_interpreter():
    ran = python("-m", "stackwarden", "demo", ends=1, STACKWARDEN_MECHANISM="none")
    assert ran.stdout == ""
    assert "nothing protects this interpreter" in ran.stderr
    assert "STACKWARDEN_MECHANISM=none" in ran.stderr


WITHOUT = """
import sys
sys.modules[sys.argv.pop(1)] = None
sys.argv[0] = "stackwarden"
from stackwarden.__main__ import main
main()
"""


def test_it_says_so_where_there_is_no_compiled_core():
    ran = python("-c", WITHOUT, "stackwarden._core", "demo", ends=1)
    assert ran.stdout == ""
    assert "nothing protects this interpreter: stackwarden has no compiled core" in ran.stderr


def test_it_says_so_where_the_ucontext_adapter_is_missing():
    ran = python("-c", WITHOUT, "stackwarden.adapters.ucontext", "demo", ends=1)
    assert ran.stdout == ""
    assert "the demo makes its stacks with stackwarden.adapters.ucontext" in ran.stderr
    assert sys.platform in ran.stderr


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_it_names_the_extra_that_must_be_installed(missing):
    ran = python("-c", WITHOUT, missing, "demo", ends=1)
    assert ran.stdout == ""
    assert f"needs {missing}: pip install 'stackwarden[cli]'" in ran.stderr
