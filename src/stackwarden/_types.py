"""The types of what Python is told: words, and ``status()`` with a line for every key.

For type checkers, and for ``doctor``, which prints these lines. Nothing else imports it: typing costs import time.
"""

from typing import Annotated, Literal, TypeAlias, TypedDict, get_args, get_type_hints

Policy: TypeAlias = Literal["exact", "estimate", "counted", "disabled"]
Isolation: TypeAlias = Literal["none", "frames", "thread-state"]
BoundsFrom: TypeAlias = Literal["native", "told", "map", "estimate"]
Mechanism: TypeAlias = Literal["none", "pointer", "setter", "counter", "combined-counter"]
Interposing: TypeAlias = Literal["off", "on", "frames"]


class Status(TypedDict):
    """Sizes in bytes."""

    python: Annotated[str, "version of the interpreter"]
    mechanism: Annotated[Mechanism, "how this CPython is protected"]
    reason: Annotated[str | None, "why not by a better mechanism"]
    margin: Annotated[int, "what CPython keeps back at the end of a stack; 0: not known"]
    least_stack_size: Annotated[int, "the smallest stack that can be protected"]
    exact_stack_size: Annotated[int, "from this size on protection is exact"]
    reserve: Annotated[int, "left at the end of a stack to those who handle an overflow"]
    native_levels: Annotated[int, "calls that CPython allows a fresh thread; 0: it counts none"]
    isolation: Annotated[tuple[Isolation, ...], "what a stack can have of it here"]
    isolation_reason: Annotated[str | None, "why it cannot have more"]
    leaked_stacks: Annotated[int, "stacks that were lost with Python frames on them"]
    dropped_states: Annotated[int, "execution states whose memory became another stack"]
    drains: Annotated[int, "how often the trashcan had something to free"]
    policy: Annotated[Policy, "for known stacks, on this thread"]
    policy_unknown: Annotated[Policy, "for unknown stacks, on this thread"]
    policy_foreign_threads: Annotated[Policy, "for native stacks of foreign threads"]
    assumed_size: Annotated[int, "what an unknown stack is taken for at the most"]
    min_stack: Annotated[int, "the setting min-stack; 0: none"]
    stack_size: Annotated[int, "of another stack, where a call does not say"]
    unprotected: Annotated[tuple[str, ...], "what the policies leave unprotected"]
    registered: Annotated[int, "stacks that are registered now"]
    superseded: Annotated[int, "stacks that gave way to later ones"]
    crash_reports: Annotated[bool, "is an overrun stack named before the process dies?"]
    switch_callbacks: Annotated[int, "callbacks of this interpreter, in Python"]
    coalesced_switches: Annotated[int, "switches that were told together with a later one"]
    beacons: Annotated[tuple[str, ...], "runtimes that tell through beacon.h"]
    beacon_faults: Annotated[str | None, "which of them do not help, and why"]
    interposition: Annotated[Interposing, "are switches of foreign code seen?"]
    interposition_reason: Annotated[str | None, "why it does less than it should"]
    mended_entries: Annotated[int, "entries and switches that were seen, and not told"]
    refused_switches: Annotated[int, "switches that were seen, and could not be isolated"]
    interleaved_frames: Annotated[
        int, "pauses without the GIL that ended with another stack's frames"
    ]


def meanings() -> dict[str, str]:
    """The line of each key."""
    hints = get_type_hints(Status, include_extras=True)
    return {key: get_args(hint)[1] for key, hint in hints.items()}
