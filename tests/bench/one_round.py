"""One round of hot_paths in a process of its own: each has its code and data in other places.

Prints JSON: [row, number] for each measurement; nanoseconds, and bytes for the row "memory".

Command line: python one_round.py FOLDER_OF_HOT_PATHS
"""

import json
import sys
import time
from pathlib import Path

sys.path.append(sys.argv[1])

import hot_paths

SWITCHING = "^(setter|check.*|enter|remaining|switch_to.*|notify.*|sync|jump.*|register.*)$"
LOOKUPS = "^find.*$"
FEW, MANY = 1_000, 1_000_000

Samples = list[tuple[str, float]]


def main() -> Samples:
    """Everything once, the few stacks before the many."""
    samples: Samples = hot_paths.measure(SWITCHING, "0.01", "12")
    hot_paths.map_many(FEW)
    hot_paths.register_many()
    samples += lookups("few", FEW)
    hot_paths.unregister_many()
    hot_paths.map_many(MANY)
    samples += register_many()
    samples += lookups("some of many", FEW)
    samples += lookups("many", MANY)
    hot_paths.unregister_many()
    return samples


def lookups(kind: str, stacks: int) -> Samples:
    """Lookups in so many of the stacks that are registered."""
    hot_paths.choose_addresses(stacks)
    measured = hot_paths.measure(LOOKUPS, "0.1", "4")
    return [(f"{kind}, {name}", nanoseconds) for name, nanoseconds in measured]


def register_many() -> Samples:
    memory, start = resident_bytes(), time.perf_counter_ns()
    hot_paths.register_many()
    nanoseconds, memory = time.perf_counter_ns() - start, resident_bytes() - memory
    return [("register new", nanoseconds / MANY), ("memory", memory / MANY)]


def resident_bytes() -> int:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not tell the resident memory")


print(json.dumps(main()))
