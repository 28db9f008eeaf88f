"""``interpose()``: foreign code that switches stacks and tells nobody is seen from now on. docs/interposition.md

Promises: what is on is off again when all that was begun is undone; a second one is counted, not done twice.
"""

from types import TracebackType
from typing import Literal, Self

from stackwarden import _where


class Interposition:
    """What ``interpose()`` began, until ``undo()``, or the end of a with block."""

    def __init__(self, isolation: str) -> None:
        self.isolation = isolation
        self._is_on = True

    def undo(self) -> None:
        """Undo this one; the last one turns interposition off. Again does nothing.

        Raises InterpositionError while stacks are suspended that need it to go on (isolation "frames").
        """
        if self._is_on:
            from stackwarden._core import _end_interposition

            _end_interposition()
            self._is_on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.undo()

    def __repr__(self) -> str:
        return f"<Interposition isolation={self.isolation!r}{'' if self._is_on else ', undone'}>"


def interpose(*, isolation: Literal["none", "frames"] = "none") -> Interposition:
    """See foreign code enter Python and switch stacks, in all that is loaded and will be, in the whole process.

    With ``isolation="frames"`` a switch that is seen takes the execution state along, so that Python frames may
    interleave. Raises InterpositionError where it cannot be had (it needs Linux), and where it is on already with
    another isolation; IsolationUnavailable; NotRunningError without a compiled core.
    """
    if isolation not in ("none", "frames"):
        raise ValueError(f"isolation {isolation!r}: must be one of none, frames")
    try:
        from stackwarden._core import _begin_interposition
    except ModuleNotFoundError:
        from stackwarden._no_core import _refuse

        _refuse()
    _begin_interposition(_where.interpose_library(), isolation == "frames")
    return Interposition(isolation)
