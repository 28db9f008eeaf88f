"""Run all that a change must pass, each leg within its minutes, on two cores.

Legs of one core run two at a time. All of them run, so that one run shows all that is wrong; a leg that is over
its limit is stopped, and has failed. What a leg prints comes in one piece when it ends. The last line says whether
all passed, and so does the exit status.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[1]
CORES = 2
MINUTES = 75  # for all of them
SECONDS_TO_END = 10  # for a leg that is told to


class Leg(NamedTuple):
    """A command, the minutes that it may take, and the cores that it keeps busy."""

    name: str
    minutes: float
    cores: int
    command: str


# What several legs use is built first; the leg with the most to say comes last.
LEGS = (
    #   name         minutes  cores  command
    Leg("build",           5,     2, "make build"),
    Leg("lint",            3,     1, "make lint"),
    Leg("greenlet",        4,     1, "make suites ARGS=greenlet"),
    Leg("sanitizers",     15,     1, "make sanitize"),
    Leg("nets",           12,     1, "make nets"),
    Leg("tests",          33,     2, "make test"),
)  # fmt: skip


class Run:
    """A leg in a process group of its own, from its start to its end."""

    def __init__(self, leg: Leg, deadline: float) -> None:
        self.leg = leg
        self.began = time.monotonic()
        self.deadline = min(deadline, self.began + 60 * leg.minutes)
        # A process that outlives the leg would keep a pipe open, but does no harm to a file.
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            ["bash", "-c", leg.command],
            cwd=CHECKOUT,
            env=os.environ | {"CI": "true"},
            stdin=subprocess.DEVNULL,
            stdout=self._printed,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def outcome(self) -> str:
        """What came of it; while it goes on, nothing."""
        status = self._process.poll()
        if status is not None:
            return "passed" if status == 0 else f"FAILED, status {status}"
        if time.monotonic() < self.deadline:
            return ""
        self.stop()
        return "FAILED, stopped at its limit"

    def stop(self) -> None:
        """End the whole group, those last who do not want to."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(SECONDS_TO_END)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def printed(self) -> str:
        """All that its processes have printed."""
        self._printed.seek(0)
        return self._printed.read().decode(errors="replace")


def main(legs: Sequence[Leg] = LEGS, minutes: float = MINUTES) -> int:
    """Return the exit status."""
    began = time.monotonic()
    print(f"=== {sum(leg.minutes for leg in legs):g} of {minutes:g} minutes are given to legs:")
    for leg in legs:
        print(f"{leg.name:12} {leg.minutes:>4g} min   {leg.command}", flush=True)
    outcomes = _run_all(legs, began + 60 * minutes)
    print("=== what they took:")
    for leg, outcome in outcomes.items():
        print(f"{leg.name:12} {outcome}")
    passed = all(outcome.endswith("passed") for outcome in outcomes.values())
    print(f"=== {'all passed' if passed else 'FAILED'} after {_minutes(began)} min")
    return 0 if passed else 1


def _run_all(legs: Sequence[Leg], deadline: float) -> dict[Leg, str]:
    """What came of each leg, in the order of their ends; one is started when there are cores for it."""
    waiting = list(legs)
    running: list[Run] = []
    outcomes: dict[Leg, str] = {}
    try:
        while waiting or running:
            while waiting and sum(run.leg.cores for run in running) + waiting[0].cores <= CORES:
                running.append(Run(waiting.pop(0), deadline))
            time.sleep(0.1)
            for run in list(running):
                if outcome := run.outcome():
                    running.remove(run)
                    took = f"{_minutes(run.began)} of {run.leg.minutes:g} min"
                    outcomes[run.leg] = f"{took}, {outcome}"
                    print(f"=== {run.leg.name}\n{run.printed()}", end="")
                    print(f"=== {run.leg.name}: {outcomes[run.leg]}", flush=True)
    finally:
        for run in running:
            run.stop()
    return outcomes


def _minutes(began: float) -> str:
    return f"{(time.monotonic() - began) / 60:.1f}"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main())
