"""Benchmarks: what telling CPython of a stack costs, beside CPython's own setter and a bare jump.

Promises: all that is compared is measured in this one run, under the Python that runs it, and
printed as ratios with the targets beside them; a target that is missed is marked and makes the exit
status 1. What slows a machine only ever adds, so each number is the least of many short
measurements, spread over the run and over processes; the median of them stands beside it.

Command line: python tests/bench/run.py [--json FILE]
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

import coroutines  # noqa: E402
import pyperf  # noqa: E402

import commands  # noqa: E402
import debian  # noqa: E402
import extensions  # noqa: E402
import stackwarden  # noqa: E402

IMPORTS = 15


class Row(NamedTuple):
    """One line of the result. `limit` is for the ratio where there is one, else for the value."""

    name: str
    value: float
    unit: str
    median: float | None = None
    ratio: float | None = None
    limit: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None: there is no target."""
        measured = self.value if self.ratio is None else self.ratio
        return None if self.limit is None else measured <= self.limit


class Samples:
    """What was measured so far, by the names that one_round.py gives."""

    def __init__(self) -> None:
        self.of: dict[str, list[float]] = defaultdict(list)

    def add(self, measured: list[tuple[str, float]]) -> None:
        for name, number in measured:
            self.of[name].append(number)

    def row(
        self, name: str, title: str, *, beside: str = "", limit: float | None = None, note: str = ""
    ) -> Row:
        """What was measured under a name; `limit` is for the ratio to what it is put beside."""
        if name not in self.of:
            return Row(title, math.nan, "ns", note="not in this CPython")
        least, ratio = min(self.of[name]), None
        if beside in self.of:
            ratio = least / min(self.of[beside])
        elif beside:
            limit = None
        return Row(title, least, "ns", statistics.median(self.of[name]), ratio, limit, note)


# ---- measuring ----


def build(name: str) -> Any:
    """An extension from this folder, compiled for this Python."""
    own = debian.own_release()
    boost = debian.unpack("libboost-context-dev", release=own) / "usr"
    google = debian.unpack("libbenchmark-dev", release=own) / "usr"
    options: list[str] = []
    for root, library in ((boost, "boost_context"), (google, "benchmark")):
        folder = next(root.glob(f"lib/*/lib{library}.so")).parent
        options += ["-isystem", f"{root}/include", f"-L{folder}", f"-Wl,-rpath,{folder}"]
        options.append(f"-l{library}")
    return extensions.load(
        extensions.build([HERE / f"{name}.cpp"], name, language="c++", args=options)
    )


def measure(samples: Samples) -> dict[str, list[Row]]:
    """Fill the samples, in rounds with other measurements between them; the rows of the latter."""
    folder = Path(build("hot_paths").__file__).parent

    def rounds(count: int) -> None:
        for _ in range(count):
            printed = commands.output(sys.executable, HERE / "one_round.py", folder)
            samples.add(json.loads(printed))

    rounds(2)
    python = [import_time()]
    rounds(1)
    python += from_python()
    rounds(1)
    coroutine = list(switch_coroutines())
    greenlets = list(switch_greenlets())
    calls = list(calls_elsewhere())
    entries = list(enter_interposed())
    starts = list(start_commands())
    rounds(2)
    return {
        "Python": python,
        "Leaving a coroutine and coming back, from Python": coroutine,
        "A switch of greenlets, from Python; ratio to a bare one": greenlets,
        "A call on another stack, from Python": calls,
        "PyGILState_Ensure and _Release on the native stack": entries,
        "Commands under `stackwarden exec`": starts,
    }


def import_time() -> Row:
    """Bare and importing interpreters take turns."""
    bare, importing = [], []
    for _ in range(IMPORTS):
        bare.append(milliseconds_of("pass"))
        importing.append(milliseconds_of("import stackwarden"))
    least = min(importing) - min(bare)
    median = statistics.median(importing) - statistics.median(bare)
    note = f"above a bare interpreter's {min(bare):.1f} ms"
    return Row("import stackwarden", least, "ms", median, limit=20, note=note)


def milliseconds_of(program: str) -> float:
    start = time.perf_counter_ns()
    subprocess.run([sys.executable, "-c", program], check=True)
    return (time.perf_counter_ns() - start) / 1e6


def from_python() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder, "result.json")
        few = ("--processes=4", "--values=3", "--warmups=1", "--quiet")
        commands.output(sys.executable, HERE / "python_level.py", *few, "-o", result)
        for measured in pyperf.BenchmarkSuite.load(str(result)):
            values = [value * 1e9 for value in measured.get_values()]
            yield Row(
                measured.get_name(), min(values), "ns", statistics.median(values), note="pyperf"
            )


def switch_coroutines() -> Iterator[Row]:
    """Isolation beside greenlet, and beside PyThreadState_Swap by hand on Boost's jump."""
    least = coroutines.measure(build("by_hand"))
    ratios = {depth: least["frames", depth] / least["greenlet", depth] for depth in (1, 50)}
    limits = {1: 0.25, 50: ratios[1]}
    for depth in (1, 50):
        frames = least["frames", depth]
        yield Row(f"greenlet, depth {depth}", least["greenlet", depth], "ns")
        yield Row(f"isolation frames, depth {depth}: beside greenlet", frames, "ns",
                  ratio=ratios[depth], limit=limits[depth])  # fmt: skip
        boost = least["frames on Boost's jump", depth]
        yield Row(f"the same on Boost's jump, depth {depth}", boost, "ns",
                  ratio=boost / least["greenlet", depth])  # fmt: skip
        if ("by hand", depth) in least:
            by_hand = least["by hand", depth]
            yield Row(f"PyThreadState_Swap by hand, depth {depth}", by_hand, "ns")
            yield Row(f"isolation frames, depth {depth}: beside that by hand", frames, "ns",
                      ratio=frames / by_hand, limit=0.5)  # fmt: skip
            thread_state = least["thread-state", depth]
            yield Row(f"isolation thread-state, depth {depth}", thread_state, "ns")
    yield Row("memory of a suspended coroutine", coroutines.memory_of_suspended(), "bytes",
              note="its stack's pages and 16 KiB of data stack included")  # fmt: skip


def switch_greenlets() -> Iterator[Row]:
    """The adapter beside a bare switch, and beside tracers that do nothing."""
    least = json.loads(commands.output(sys.executable, HERE / "greenlets.py"))
    bare = least["bare"]
    yield Row("greenlet, bare", bare, "ns")
    yield Row("with the adapter", least["adapter"], "ns", ratio=least["adapter"] / bare, limit=1.15)
    for name in ("tracer in C", "tracer in Python"):
        yield Row(f"with a {name} that does nothing", least[name], "ns", ratio=least[name] / bare)


def calls_elsewhere() -> Iterator[Row]:
    """call_on_stack beside a plain call, and beside a new thread with a stack of that size."""
    least = json.loads(commands.output(sys.executable, HERE / "calls.py"))
    plain, thread, there = least["plain"], least["thread"], least["call_on_stack"]
    yield Row("a plain call", plain, "ns")
    yield Row("in a new thread, threading.stack_size set", thread, "ns")
    yield Row("maybe_grow, in place: beside a plain call", least["maybe_grow"], "ns",
              ratio=least["maybe_grow"] / plain)  # fmt: skip
    yield Row("call_on_stack, a free stack is there: beside a plain call", there, "ns",
              ratio=there / plain)  # fmt: skip
    yield Row("call_on_stack: beside a new thread", there, "ns", ratio=there / thread,
              limit=0.1)  # fmt: skip


def enter_interposed() -> Iterator[Row]:
    """Interposition beside none. A nested entry is two calls of a few nanoseconds: any third one shows."""
    least = json.loads(commands.output(sys.executable, HERE / "interposed.py"))
    for how, limit in (("detached", 1.15), ("attached", None)):
        bare, interposed = least[f"bare, {how}"], least[f"interposed, {how}"]
        yield Row(f"bare, {how} before", bare, "ns")
        yield Row(
            f"interposed, {how} before", interposed, "ns", ratio=interposed / bare, limit=limit
        )


def start_commands() -> Iterator[Row]:
    """`exec` beside a bare Python; programs without Python beside themselves under the preloaded library."""
    least = json.loads(commands.output(sys.executable, HERE / "starting.py"))
    python = least["python"]
    yield Row("a bare Python's start and end", python, "ms")
    start = least["exec true"] - least["true"] - python
    yield Row("stackwarden exec -- true: above that and true alone", start, "ms", limit=3)
    small = least["true, interposed"] - least["true"]
    note = f"above {least['true']:.1f} ms without it"
    yield Row("true, under the preloaded library", small, "ms", limit=1, note=note)
    for name in ("perl", "gcc"):
        plain, interposed = least[name], least[f"{name}, interposed"]
        yield Row(f"{name}, of a second, under the preloaded library", interposed, "ms",
                  ratio=interposed / plain, limit=1.05)  # fmt: skip


# ---- the result ----


def switching_rows(row: Callable[..., Row]) -> list[Row]:
    beside = partial(row, beside="setter")
    return [
        beside("setter", "CPython's setter, thread state asked for"),
        beside("switch_to", "switch_to", limit=0.8),
        beside("notify", "notify_stack_switch, registered stacks", limit=2.0),
        beside("sync", "sync_stack, already right", limit=0.5),
        beside("switch_to, detached", "switch_to, detached"),
        beside("notify, unregistered", "notify_stack_switch, one of two unregistered"),
        beside("jump", "Boost jump_fcontext, nobody told"),
        beside("jump, told", "Boost jump_fcontext with switch_to and reset_stack"),
    ]


def depth_rows(row: Callable[..., Row]) -> list[Row]:
    beside = partial(row, beside="check, CPython")
    return [
        beside("check, CPython", "CPython's Py_EnterRecursiveCall and Py_LeaveRecursiveCall"),
        beside("check", "check_stack_depth", limit=1.0),
        beside("enter", "enter_recursive_call and leave_recursive_call"),
        beside("remaining", "stack_remaining"),
    ]


def beacon_rows(row: Callable[..., Row]) -> list[Row]:
    beside_bare = partial(row, beside="jump")
    return [
        row("jump", "Boost jump_fcontext"),
        beside_bare("jump, beacon", "with a beacon that nobody hears", limit=1.10),
        beside_bare("jump, beacon heard", "with a beacon that the core hears, registered stacks"),
    ]


def registry_rows(row: Callable[..., Row]) -> list[Row]:
    beside_few = partial(row, beside="few, find")
    beside_bare = partial(row, beside="few, find, bare")
    caches = "mostly the caches': see the two bare rows"
    return [
        row("register", "register and unregister", limit=300),
        row("register, named", "register with names and unregister"),
        beside_few("few, find", "find, 1,000 stacks"),
        beside_few("some of many, find", "find, 1,000,000 stacks, in 1,000 of them", limit=4),
        row("many, find", "find, 1,000,000 stacks", limit=100),
        beside_few("many, find", "  and beside that in 1,000 stacks", note=caches),
        beside_bare("few, find, bare", "  bare: a word, then a line of as much memory, 1,000"),
        beside_bare("many, find, bare", "  bare: the same of 1,000,000"),
        row("few, find, dependent", "find one after the other, 1,000 stacks"),
        row("many, find, dependent", "find one after the other, 1,000,000 stacks"),
        row(
            "register new",
            "register, each of 1,000,000",
            note="wall clock, memory's first touch included",
        ),
        row("memory", "memory of each of 1,000,000 stacks of 256 KiB", limit=128)._replace(
            unit="bytes"
        ),
    ]


def print_sections(found: dict[str, list[Row]]) -> None:
    for title, rows in found.items():
        print(f"\n{title:<66}{'least':>8}{'median':>9}        {'ratio':>6}  target")
        for row in rows:
            median = "" if row.median is None else f"{row.median:.2f}"
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            verdict = "ok" if row.met else "MISSED"
            target = "" if row.limit is None else f"<= {row.limit:.3g} {verdict}"
            measured = f"{row.value:>10.2f}{median:>9} {row.unit:<6} {ratio:>6}"
            print(f"  {row.name:<62}{measured}  {target:<15}{row.note}".rstrip())


def main() -> int:
    """Return the exit status: 1 when a target was missed."""
    parser = argparse.ArgumentParser(description="Measure, compare, and check the targets.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write rows and samples there")
    options = parser.parse_args()
    samples = Samples()
    others = measure(samples)
    found = {
        "Switching; ratio to CPython's setter": switching_rows(samples.row),
        "Going deeper; ratio to CPython's own check": depth_rows(samples.row),
        "Beacon; ratio to a bare jump": beacon_rows(samples.row),
        "Registry; find: of random addresses, independent of each other": registry_rows(
            samples.row
        ),
        **others,
    }
    status = stackwarden.status()
    print(f"CPython {platform.python_version()}, mechanism {status['mechanism']}")
    print(
        "ns of processor time for one call, loop included: the least of all repetitions and their"
    )
    print("median. Two stacks in turn where stacks are switched.")
    print_sections(found)
    rows = [row for section in found.values() for row in section]
    if options.json:
        result = {
            "python": platform.python_version(),
            "machine": platform.processor() or platform.machine(),
            "status": status,
            "rows": [{**row._asdict(), "met": row.met} for row in rows],
            "samples": samples.of,
        }
        options.json.write_text(json.dumps(result, indent=1))
    missed = [row.name.strip() for row in rows if row.met is False]
    print(f"\n{len(missed)} targets missed" + "".join(f"\n  {name}" for name in missed))
    return 1 if missed else 0


if __name__ == "__main__":
    with commands.errors_reported():
        sys.exit(main())
