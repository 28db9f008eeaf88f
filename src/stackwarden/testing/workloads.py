"""Work that kills or bloats an interpreter with wrong stack bounds, harmless with right ones.

Each workload returns one word for what happened: "RecursionError" when CPython raised it and the
stack was usable afterwards, "freed" or "leaked" for memory. One that ends the process says nothing.
Used by the demo, by the conformance kit and by the tests.
"""

import copy
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

DEPTH = 200_000
TUPLES = 1_000_000
CONTAINERS = 200_000
LEAK = 32 * 1024 * 1024
"""Bytes of resident memory; the 200,000 containers take about 100 MB when none is freed."""


class Workload(NamedTuple):
    """One kind of work, what it must come to on a protected stack, and its name in tables."""

    run: Callable[[], str]
    expected: str
    title: str


def resident_bytes() -> int:
    """Resident memory of this process; its peak where /proc does not tell."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import resource  # which Windows lacks; the other workloads run there

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _nested_list() -> list[Any]:
    nested: list[Any] = []
    for _ in range(DEPTH):
        nested = [nested]
    return nested


def _recursion_error_of(work: Callable[[], object]) -> str:
    """Run work that recurses too deep, twice: the first error must leave the stack usable."""
    for _ in range(2):
        try:
            work()
        except RecursionError:
            continue
        return "finished"
    return "RecursionError"


class _Adder:
    def __add__(self, other: object) -> object:
        return self + other


class _Key:
    def __lt__(self, other: object) -> bool:
        return bool(sorted([_Key(), _Key()], key=_same))


def _same(key: _Key) -> _Key:
    return key


def _freed(work: Callable[[], object]) -> str:
    before = resident_bytes()
    work()
    return "freed" if resident_bytes() - before < LEAK else "leaked"


def _drop_containers() -> None:
    for number in range(CONTAINERS):
        {number: [number], "list": [[], {}]}  # noqa: B018


def _drop_tuples() -> None:
    nested: tuple[Any, ...] = ()
    for _ in range(TUPLES):
        nested = (nested,)
    del nested


def add() -> str:
    """``X() + 1`` where ``__add__`` returns ``self + other``."""
    return _recursion_error_of(lambda: _Adder() + 1)


def nested_repr() -> str:
    """``repr`` of 200,000 nested lists."""
    nested = _nested_list()
    return _recursion_error_of(lambda: repr(nested))


def containers() -> str:
    """Build and drop 200,000 small containers."""
    return _freed(_drop_containers)


def nested_sorted() -> str:
    """Recursion through ``sorted(key=...)`` with a Python ``__lt__``: the costliest call."""
    return _recursion_error_of(lambda: sorted([_Key(), _Key()], key=_same))


def json_loads() -> str:
    """``json.loads`` of deep nesting."""
    text = "[" * DEPTH + "]" * DEPTH
    return _recursion_error_of(lambda: json.loads(text))


def deepcopy() -> str:
    """``copy.deepcopy`` of a deep list."""
    nested = _nested_list()
    return _recursion_error_of(lambda: copy.deepcopy(nested))


def pickle_dumps() -> str:
    """``pickle.dumps`` of a deep list."""
    nested = _nested_list()
    return _recursion_error_of(lambda: pickle.dumps(nested))


def tuples() -> str:
    """Free 1,000,000 nested tuples."""
    return _freed(_drop_tuples)


WORKLOADS = {
    "add": Workload(add, "RecursionError", "X() + 1"),
    "repr": Workload(nested_repr, "RecursionError", "repr of 200,000 nested lists"),
    "containers": Workload(containers, "freed", "200,000 containers dropped"),
    "sorted": Workload(nested_sorted, "RecursionError", "sorted(key=...)"),
    "json": Workload(json_loads, "RecursionError", "json.loads of deep nesting"),
    "deepcopy": Workload(deepcopy, "RecursionError", "copy.deepcopy of a deep list"),
    "pickle": Workload(pickle_dumps, "RecursionError", "pickling a deep list"),
    "tuples": Workload(tuples, "freed", "1,000,000 nested tuples freed"),
}
