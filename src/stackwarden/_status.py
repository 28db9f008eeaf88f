"""``status()``: what protects this interpreter, and why not better. _types.py has a line for every key."""

import sys

from _stackwarden_start.variables import OFF, variable
from stackwarden._callbacks import living_callbacks
from stackwarden._contract import POLICIES, KnownKeys
from stackwarden._core import _beacons, _counters, _protection

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from typing import Any

    from stackwarden._types import Interposing, Isolation, Policy, Status

PROTECTION = _protection()
"""What was found out when the core started."""

COMPARES_ADDRESSES = PROTECTION["mechanism"] in ("pointer", "setter")
"""And does not count calls."""


def _isolations() -> "tuple[Isolation, ...]":
    found: list[Isolation] = ["none"]
    if PROTECTION["frames_reason"] is None:
        found.append("frames")
    if PROTECTION["has_own_states"]:
        found.append("thread-state")
    return tuple(found)


def _isolation_reason() -> str | None:
    reasons = []
    if PROTECTION["frames_reason"] is not None:
        reasons.append(f"frames: {PROTECTION['frames_reason']}")
    if not PROTECTION["has_own_states"]:
        reasons.append(
            "thread-state: on 3.11 PyGILState_Ensure deadlocks in all thread states but one"
        )
    return "; ".join(reasons) or None


ISOLATION_REASON = _isolation_reason()


def status() -> "Status":
    """What protects this interpreter, and why not better: a dict of plain values, sizes in bytes.

    The KeyError for another key names those that there are.
    """
    counters = _counters()
    policy, policy_unknown, policy_foreign_threads = map(_policy, counters["policies"])
    beacons, beacon_faults = _describe(_beacons())
    found: Status = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "mechanism": PROTECTION["mechanism"],
        "reason": _reason(),
        "margin": PROTECTION["margin"],
        "least_stack_size": PROTECTION["least_stack_size"],
        "exact_stack_size": PROTECTION["exact_stack_size"],
        "reserve": PROTECTION["reserve"],
        "native_levels": PROTECTION["native_levels"],
        "isolation": _isolations(),
        "isolation_reason": ISOLATION_REASON,
        "leaked_stacks": counters["leaked_stacks"],
        "dropped_states": counters["dropped_states"],
        "drains": counters["drains"],
        "policy": policy,
        "policy_unknown": policy_unknown,
        "policy_foreign_threads": policy_foreign_threads,
        "assumed_size": counters["assumed_size"],
        "min_stack": counters["min_stack"],
        "stack_size": counters["stack_size"],
        "unprotected": _unprotected(policy, policy_unknown, policy_foreign_threads),
        "registered": counters["registered"],
        "superseded": counters["superseded"],
        "crash_reports": bool(counters["crash_reports"]),
        "switch_callbacks": len(living_callbacks()),
        "coalesced_switches": counters["coalesced_switches"],
        "beacons": beacons,
        "beacon_faults": beacon_faults,
        "interposition": _interposition(counters),
        "interposition_reason": _interposition_reason(counters),
        "mended_entries": counters["mended_entries"],
        "refused_switches": counters["refused_switches"],
        "interleaved_frames": counters["interleaved_frames"],
    }
    return KnownKeys(found)  # type: ignore[return-value]


def _policy(number: int) -> "Policy":
    return POLICIES[number - 1]


def _reason() -> str | None:
    if OFF:
        return "STACKWARDEN=off"
    forced = variable("STACKWARDEN_MECHANISM")
    return f"STACKWARDEN_MECHANISM={forced}" if forced else PROTECTION["reason"] or None


def _unprotected(known: "Policy", unknown: "Policy", foreign_threads: "Policy") -> tuple[str, ...]:
    """What the policies leave unprotected, in words."""
    if COMPARES_ADDRESSES:
        meaning = {
            "disabled": "nothing is checked",
            "counted": "only Python frames are counted, recursion that is purely C is not stopped",
        }
    else:
        meaning = {"disabled": "calls are counted as on a thread's own stack"}
    policies = {
        "known stacks": known,
        "unknown stacks": unknown,
        "foreign threads": foreign_threads,
    }
    return tuple(
        f"{what}: {meaning[policy]}" for what, policy in policies.items() if policy in meaning
    )


def _describe(beacons: "list[Any]") -> tuple[tuple[str, ...], str | None]:
    """The names of beacons; and what is wrong with which, as one text, or None."""
    names, faults = [], []
    for name, *facts in beacons:
        names.append(name.partition(b"\0")[0].decode("utf-8", "replace"))
        fault = _fault_of(*facts)
        if fault is not None:
            faults.append(f"{names[-1]}: {fault}")
    return tuple(names), "; ".join(faults) or None


def _fault_of(version: int, known: int, listener: int, refused: int, last: str) -> str | None:
    """Why a beacon does not help, or not always."""
    if version != known:
        return f"its beacon.h has version {version}, this stackwarden knows {known}"
    if listener == 0:
        return "not found yet"
    if listener == 2:
        return "another copy of stackwarden listens"
    if refused:
        return f"{refused} calls refused, the last one: {last.removeprefix('refused: ')}"
    return None


def _interposition(counters: "dict[str, Any]") -> "Interposing":
    if counters["unwritten_slots"] < 0:
        return "off"
    return "frames" if counters["interposed_frames"] else "on"


def _interposition_reason(counters: "dict[str, Any]") -> str | None:
    """Why it does less than it should."""
    if counters["unwritten_slots"] > 0:
        return (
            f"{counters['unwritten_slots']} slots of loaded objects cannot be written, and calls through them are "
            "not seen: neither /proc/self/mem nor mprotect() may be used"
        )
    if _interposition(counters) == "on" and PROTECTION["mechanism"] == "none":
        return f"the mechanism is 'none', and CPython is told of no stack: {_reason()}"
    return None
