"""A long mix of all that the library offers: counters stay sane, objects and memory flat.

Promises: the choices of each thread follow from the seed. All threads end after each round, and all that
they began: between two rounds the process must be as it was. The exit status is 1, with the figures of
each round, where it is not.

Command line: python tests/nets/soak.py [SECONDS [SEED]]
"""

import ctypes
import faulthandler
import gc
import os
import random
import sys
import threading
import time
import traceback
from array import array
from typing import Any, NamedTuple

import soak_actors

import stackwarden
from stackwarden.testing.workloads import resident_bytes

THREADS = 3  # beside the main one
ROUND = 2.0  # seconds
MOST_ROUNDS = 10_000
MOST_GROWTH = 1 << 20, 200, 50
"""How much more there may be in the end than after the first minute: bytes, blocks of memory, objects."""

STAYS = (
    *(
        "leaked_stacks",
        "dropped_states",
        "policy",
        "policy_unknown",
        "policy_foreign_threads",
        "unprotected",
    ),
    *("switch_callbacks", "crash_reports", "interposition", "refused_switches"),
)
"""What status() says of these must stay as it was."""


C = ctypes.CDLL(None)


class Figures(NamedTuple):
    """What there is between two rounds."""

    memory: int
    blocks: int
    objects: int
    stacks: int

    def __str__(self) -> str:
        return (
            f"{self.memory >> 10:,} KiB, {self.blocks:,} blocks, {self.objects:,} objects, "
            f"{self.stacks:,} stacks"
        )


def figures() -> Figures:
    soak_actors.empty_pools()
    for _ in range(3):
        gc.collect()
    stackwarden.drain()
    if hasattr(C, "malloc_trim"):
        C.malloc_trim(0)
    return Figures(
        resident_bytes(),
        sys.getallocatedblocks(),
        len(gc.get_objects()),
        len(stackwarden.stacks()),
    )


def live(actor: soak_actors.Actor, until: float, failures: list[str]) -> None:
    """One thread's round."""
    try:
        actor.live(until)
    except BaseException:
        failures.append(f"{threading.current_thread().name}: {traceback.format_exc()}")


def play_round(seed: str, seconds: float) -> None:
    """All threads do what comes for some time, and end all that they began."""
    shared, failures = soak_actors.Shared(THREADS + 1), []
    until = time.monotonic() + seconds
    actors = [
        soak_actors.Actor(f"{seed} {number}", number, shared) for number in range(THREADS + 1)
    ]
    threads = [
        threading.Thread(target=live, args=[actor, until, failures], name=f"actor {actor.number}")
        for actor in actors[1:]
    ]
    for thread in threads:
        thread.start()
    live(actors[0], until, failures)
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"round {seed}:\n" + "\n".join(failures))


def sane() -> dict[str, Any]:
    status = stackwarden.status()
    return {name: status[name] for name in STAYS}


class Log:
    """The figures of all rounds, in memory that was there from the first."""

    def __init__(self, seconds: float) -> None:
        self.settles = min(60.0, seconds / 3)
        self.columns = [array("q", bytes(8 * MOST_ROUNDS)) for _ in Figures._fields]
        self.rounds = self.unsettled = 0

    def add(self, at: float, figures: Figures) -> None:
        for column, figure in zip(self.columns, figures, strict=True):
            column[self.rounds] = figure
        self.rounds += 1
        self.unsettled += at < self.settles

    def growth(self) -> list[int]:
        """From the first to the last quarter of the settled rounds: of the least in each, as chance only adds."""
        quarter = max(1, (self.rounds - self.unsettled) // 4)
        first = slice(self.unsettled, self.unsettled + quarter)
        last = slice(self.rounds - quarter, self.rounds)
        return [min(column[last]) - min(column[first]) for column in self.columns[:3]]


def main() -> int:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.SystemRandom().randrange(10**6))
    print(f"soak: {seconds:.0f} s, seed {seed}, {os.getpid()}", flush=True)
    faulthandler.dump_traceback_later(seconds + 120, exit=True)
    log, begun = Log(seconds), time.monotonic()
    play_round(f"{seed} first", ROUND)  # what is imported and pooled once
    while time.monotonic() < begun + seconds / 10:
        figures()  # CPython's free lists fill up with some hundred of these
    before = sane()
    while log.rounds < MOST_ROUNDS and time.monotonic() < begun + seconds:
        play_round(f"{seed} {log.rounds}", ROUND)
        now, at = figures(), time.monotonic() - begun
        log.add(at, now)
        print(f"{at:5.0f} s: {now}", flush=True)
        if sane() != before:
            print(f"after the first round: {before}\nnow: {sane()}")
            return 1
    grown = log.growth()
    print("since it settled: {:+,} bytes, {:+,} blocks, {:+,} objects".format(*grown))
    return int(any(grew > most for grew, most in zip(grown, MOST_GROWTH, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
