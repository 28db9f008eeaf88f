"""Run tests against a core that is compiled with sanitizers, in the environment of the Python that runs this.

Two legs, each with an environment of its own (noxfile.py): `address` (AddressSanitizer, LeakSanitizer and
UndefinedBehaviorSanitizer, on the core's tests) and `thread` (ThreadSanitizer, on threads that use
the core at once). A leg fails when a test fails, when none passes, when any process left a report,
and when a sanitizer was not really there: the tests in this folder provoke one report of each kind,
and a race that is planted must be reported. What may leak is in leaks.txt and tests_that_leak.py.

Command line:
    python tests/sanitizers/run.py LEG [PYTEST ARGUMENT...]
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

import commands  # noqa: E402
import paths  # noqa: E402

# A status that no test of a child's end expects.
ENDED_BY_A_SANITIZER = 66

# Written to a process's report, but no finding.
REMARKS = (
    "ASan doesn't fully support makecontext/swapcontext functions",
    "was not suspended. False leaks are possible.",  # of a thread that was ending; a leak would be reported
)


class Leg(NamedTuple):
    """What to load first, how to set it up, and what to run."""

    runtime: str
    settings: dict[str, str]
    tests: tuple[str, ...]
    meaningless: tuple[str, ...] = ()  # tests of what the sanitizer itself changes
    plant: tuple[str, str] | None = None  # a test that must leave a report, and what that must name


LEGS = {
    "address": Leg(
        "libasan.so",
        {
            # Tests of crashes look for the signal that ends the child, not for a report of it.
            "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0:handle_segv=0:handle_sigbus=0:handle_sigfpe=0"
            # Workloads look whether freed memory goes back to the system.
            ":quarantine_size_mb=8:thread_local_quarantine_size_kb=64"
            ":allocator_release_to_os_interval_ms=0"
            # Thread-local variables that by chance begin 16 bytes into a page are taken for an older libc's, with
            # other bounds, and LeakSanitizer ends with signal 11 (google/sanitizers #1322).
            ":intercept_tls_get_addr=0",
            "LSAN_OPTIONS": f"suppressions={HERE / 'leaks.txt'}:print_suppressions=0",
            # Its report goes to standard error (gcc 12); the process ends with it in any case.
            "UBSAN_OPTIONS": "print_stacktrace=1",
            # Each Python object is a block of its own, with forbidden bytes around it.
            "PYTHONMALLOC": "malloc",
        },
        (
            *("tests/core", "tests/isolation_c", "tests/isolation"),
            *("tests/beacon", "tests/depth", "tests/policies", "tests/recursion"),
            "tests/unknown/test_unknown_stacks.py",
            *(
                "tests/call_on_stack/test_c.py",
                "tests/call_on_stack/test_call_on_stack.py",
                "tests/call_on_stack/test_suspending.py",
            ),
            *("tests/adapters/asm", "tests/adapters/fcontext", "tests/adapters/ucontext"),
            *("tests/adapters/greenlet/test_adapter.py", "tests/adapters/greenlet/test_budget.py"),
            *("tests/interpose/test_entries.py", "tests/interpose/test_switches.py"),
            *("tests/interpose/test_frames.py", "tests/interpose/test_loading.py"),
            "tests/sanitizers/test_address.py",
        ),
        # RTLD_DEEPBIND is refused, address space taken (20 TB), memory that was freed held back. gdb, a million
        # stacks, and objects that are put off take minutes here; plain runs have them. The first five read sources
        # and compile them: nothing of ours runs.
        (
            *(
                "tests/core/test_architecture.py",
                "tests/core/test_contract.py",
                "tests/core/test_locks.py",
            ),
            *("tests/core/test_c_table.py", "tests/core/test_cimport.py"),
            "tests/core/test_ends.py::test_threads_that_find_it_full_lose_nothing_and_leak_nothing",
            "tests/adapters/ucontext/test_ucontext.py::test_gdb_ends_at_the_entry_however_deep_the_resumer_is",
            *(
                f"tests/interpose/{test}"
                for test in (
                    "test_switches.py::test_memory_is_freed_on_a_stack_that_was_switched_to",
                    "test_entries.py::test_memory_is_freed_on_a_fiber_that_ensures_the_gil",
                )
            ),
            "tests/core/test_registry_threads.py::test_a_million_stacks",
            "tests/beacon/test_finding.py::"
            "test_recursion_on_a_stack_that_only_a_beacon_told_of_is_stopped[after the core, by itself]",
            "tests/call_on_stack/test_call_on_stack.py::test_address_space_that_cannot_be_had_is_a_memory_error",
            "tests/call_on_stack/test_call_on_stack.py::test_calls_leave_nothing_behind",
        ),
    ),
    "thread": Leg(
        "libtsan.so",
        {"TSAN_OPTIONS": "handle_segv=0:handle_sigbus=0:handle_sigfpe=0"},
        (
            *("tests/isolation/test_crowd.py", "tests/isolation/test_threads.py"),
            *("tests/core/test_requests.py", "tests/isolation_c/test_moving.py"),
            *("tests/core/test_registry_threads.py", "tests/adapters/ucontext"),
            "tests/sanitizers/test_thread.py",
        ),
        # In the child of a fork the runtime ignores all that the forking "thread" does from then on, if there are
        # others (ForkChildAfter in tsan_rtl.cpp). A fiber is one, and what it hands over to the thread's own stack
        # is then reported as races. gdb, millions of records and coroutines by the hundred thousand take minutes.
        (
            *(
                f"tests/adapters/ucontext/test_ucontext.py::{test}"
                for test in (
                    "test_after_a_fork_inside_both_processes_are_protected_and_come_back",
                    "test_gdb_ends_at_the_entry_however_deep_the_resumer_is",
                    "test_memory_does_not_grow_over_a_hundred_thousand_coroutines",
                )
            ),
            "tests/core/test_registry_threads.py::test_a_million_stacks",
            "tests/core/test_registry_threads.py::test_more_than_two_million_records_are_refused",
        ),
        plant=("tests/sanitizers/planted_race.py", "count_a_find"),
    ),
}


def main() -> int:
    """Return the exit status."""
    name, *arguments = sys.argv[1:]
    leg = LEGS[name]
    outcome = _outcome(name, leg, arguments)
    if leg.plant is not None and not _reports_what_is_planted(name, leg):
        outcome = f"NOT GREEN, what {leg.plant[0]} plants was not reported"
    print(f"stackwarden: {name} sanitizer under CPython {platform.python_version()}: {outcome}")
    return 0 if outcome == "green" else 1


def _outcome(name: str, leg: Leg, arguments: list[str]) -> str:
    status, found = _run(name, leg, arguments)
    for text in found:
        print(text, flush=True)
    if status != 0:
        return f"NOT GREEN, pytest ended with status {status}"
    return f"NOT GREEN, {len(found)} processes left a report" if found else "green"


def _reports_what_is_planted(name: str, leg: Leg) -> bool:
    test, named = leg.plant
    status, found = _run(name, leg._replace(tests=(test,), meaningless=()), ["--quiet"])
    return status == ENDED_BY_A_SANITIZER and any(named in text for text in found)


def _run(name: str, leg: Leg, arguments: list[str]) -> tuple[int, list[str]]:
    """The exit status of pytest, and what its process and others have reported."""
    with tempfile.TemporaryDirectory() as scratch:
        empty, reports = Path(scratch, "empty"), Path(scratch, "reports")
        empty.mkdir()
        reports.mkdir()
        status = subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pytest",
                    "-p",
                    "no:cacheprovider",
                    "-p",
                    "tests_that_leak",
                ),
                *(paths.CHECKOUT / path for path in leg.tests),
                *(f"--deselect={test}" for test in leg.meaningless),
                *("--rootdir", paths.CHECKOUT),
                *("--config-file", paths.CHECKOUT / "pyproject.toml"),
                *arguments,
            ],
            cwd=empty,
            env=os.environ | _variables(name, leg, reports / "of") | {"PYTHONPATH": str(HERE)},
            stdin=subprocess.DEVNULL,
            check=False,
        ).returncode
        return status, _findings(reports)


def _variables(name: str, leg: Leg, reports: Path) -> dict[str, str]:
    """The settings, and what the tests' conftest.py reads."""
    variables = leg.settings | {
        # A sanitizer looks for C++'s exceptions when it starts; modules in C++ are loaded later.
        "LD_PRELOAD": f"{_runtime(leg.runtime)} {_runtime('libstdc++.so.6')}",
        "SANITIZER_LEG": name,
        "SANITIZER_STATUS": str(ENDED_BY_A_SANITIZER),
    }
    for variable in variables:
        if variable.endswith("_OPTIONS"):
            variables[variable] += f":exitcode={ENDED_BY_A_SANITIZER}:log_path={reports}"
    return variables


def _runtime(library: str) -> Path:
    """A sanitizer's runtime, which must come before all that the interpreter loads."""
    compiler = os.environ.get("CC", "cc").split()
    path = Path(commands.output(*compiler, f"-print-file-name={library}").strip())
    if not path.is_absolute():
        raise commands.HarnessError(f"{compiler[0]} comes without {library}")
    return path.resolve()


def _findings(reports: Path) -> list[str]:
    """What processes reported, those that pytest did not see the end of included."""
    texts = [path.read_text(errors="replace") for path in sorted(reports.iterdir())]
    return [text for text in texts if not all(map(_is_remark, text.splitlines()))]


def _is_remark(line: str) -> bool:
    return not line.strip() or any(remark in line for remark in REMARKS)


if __name__ == "__main__":
    with commands.errors_reported():
        sys.exit(main())
