"""``interpose()``: foreign code that switches stacks and tells nobody is seen from now on; and the environment in
which whole trees of processes are interposed, whatever programs they run. docs/interposition.md

Promises: what is on is off again when all that was begun is undone; a second one is counted, not done twice.
"""

import os

from _stackwarden_start.environment import ISOLATIONS, LIBRARY, interposed, why_not_interposed
from _stackwarden_start.variables import OFF
from stackwarden.errors import (
    InterleavedFramesWarning,
    InterpositionError,
    IsolationUnavailableError,
    SettingWarning,
)

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any, Literal, Self


class Interposition:
    """What ``interpose()`` began, until ``undo()``, or the end of a with block."""

    def __init__(self, isolation: str, *, is_on: bool = True) -> None:
        self.isolation = isolation
        self._is_on = is_on

    def undo(self) -> None:
        """Undo this one; the last one turns interposition off. Again does nothing.

        Raises InterpositionError while stacks are suspended that need it to go on (isolation "frames").
        """
        if self._is_on:
            from stackwarden._core import _end_interposition

            suspended = _end_interposition()
            if suspended:
                raise InterpositionError(
                    f"{suspended} stacks hold Python frames that only interposition can put back: "
                    "let them end first"
                )
            self._is_on = False

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        traceback: "TracebackType | None",
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<Interposition isolation={self.isolation!r}{'' if self._is_on else ', undone'}>"


def interpose(*, isolation: 'Literal["none", "frames"]' = "none") -> Interposition:
    """See foreign code enter Python and switch stacks, in all that is loaded and will be, in the whole process.

    With ``isolation="frames"`` a switch that is seen takes the execution state along, so that Python frames may
    interleave. Raises InterpositionError where it cannot be had (it needs Linux), and where it is on already with
    another isolation; IsolationUnavailableError; NotRunningError without a compiled core.
    """
    _check_isolation(isolation)
    if OFF:
        return Interposition(isolation, is_on=False)
    try:
        from stackwarden._core import _begin_interposition, _load_interposition
    except ModuleNotFoundError:
        from stackwarden._no_core import _refuse

        _refuse()
    from stackwarden._status import ISOLATION_REASON, PROTECTION, status

    if isolation == "frames" and PROTECTION["frames_reason"] is not None:
        raise IsolationUnavailableError(
            f"isolation 'frames' cannot be had here: {ISOLATION_REASON}"
        )
    reason = _load_interposition(os.fsencode(LIBRARY), _warn_of_interleaving)
    if reason is not None:
        raise InterpositionError(f"interposition: {reason}")
    made = Interposition(isolation, is_on=False)  # first: it may want memory
    others = _begin_interposition(isolation == "frames")
    if others:
        raise InterpositionError(
            f"{others} interpositions are on with another isolation: status {status()['interposition']!r}"
        )
    made._is_on = True
    return made


def _warn_of_interleaving(caller: int, is_isolated: bool) -> None:
    """`caller`: the code that let the GIL go, and went on with the frames of another stack."""
    import warnings

    from stackwarden._checking import symbol

    help_ = (
        "its jumps are not seen, so isolation 'frames' does not help: give each of its tasks a thread state"
        if is_isolated
        else "isolation 'frames' helps where its jumps are seen (stackwarden exec --isolation=frames)"
    )
    warnings.warn(
        f"Python frames of several stacks interleave: {symbol(caller)} goes on with those of another stack, "
        f"so results and exceptions may be another one's. {help_}",
        InterleavedFramesWarning,
        stacklevel=2,
    )


def warn_if_left_out(asked: "Mapping[str, Any]") -> None:
    """The settings ask for it, and this Python did not look at them when it started (or not as they are now)."""
    from _stackwarden_start.begin import has_begun

    wanted = {"none": "on", "frames": "frames"}[asked.get("isolation", "none")]
    if not asked.get("interpose") or has_begun:
        return
    import warnings

    from stackwarden._status import status

    if status()["interposition"] != wanted:
        warnings.warn(
            "interpose is left out: this Python did not look at STACKWARDEN when it started. Start programs with "
            "`stackwarden run` or `stackwarden exec`, or run `stackwarden enable` once, or call interpose()",
            SettingWarning,
            stacklevel=2,
        )


def interposed_environment(
    environment: "Mapping[str, str] | None" = None,
    *,
    isolation: 'Literal["none", "frames"]' = "none",
) -> dict[str, str]:
    """The variables that are to be set, with their values; what `environment` has in them stays.

    For a process and all that it starts: ``LD_PRELOAD`` reaches programs that are not Python, ``PYTHONPATH`` has
    Pythons import the core where it is installed for their version, ``STACKWARDEN`` says what it is to do.
    `environment` defaults to that of this process. Raises InterpositionError where there is no interposition;
    ValueError for another isolation.
    """
    _check_isolation(isolation)
    reason = why_not_interposed()
    if reason is not None:
        raise InterpositionError(reason)
    return interposed(os.environ if environment is None else environment, isolation)


def _check_isolation(isolation: str) -> None:
    if isolation not in ISOLATIONS:
        raise ValueError(f"isolation {isolation!r}: must be one of {', '.join(ISOLATIONS)}")
