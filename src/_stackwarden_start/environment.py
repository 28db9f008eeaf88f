"""The variables that interpose whole trees of processes, whatever programs they run. docs/interposition.md

Promises: a Python that imports this loads no core.
"""

import os

from _stackwarden_start.variables import OFF

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
_PACKAGE = os.path.join(_PACKAGES, "stackwarden")  # noqa: PTH118

ISOLATIONS = ("none", "frames")

LIBRARY = os.path.join(_PACKAGE, "libstackwarden_interpose.so")  # noqa: PTH118
"""The library that interposes, for LD_PRELOAD; there is none but on Linux."""

STARTUP = os.path.join(_PACKAGE, "_startup")  # noqa: PTH118
"""The folder whose sitecustomize module begins what the environment asks for, for PYTHONPATH."""


def why_not_interposed() -> str | None:
    """Why there can be no such variables; None: they can be had."""
    if OFF:
        return None
    if not os.path.exists(LIBRARY):  # noqa: PTH110
        return f"there is no interposition on this platform: {LIBRARY} is missing"
    if " " in LIBRARY or ":" in LIBRARY:
        return f"LD_PRELOAD cannot name a path with spaces or colons: {LIBRARY}"
    return None


def interposed(former: "Mapping[str, str]", isolation: str) -> dict[str, str]:
    """The variables that are to be set, with their values; what `former` has in them stays."""
    if OFF:
        return {"STACKWARDEN": _joined(former, "STACKWARDEN", "off")}
    return {
        "LD_PRELOAD": _first(LIBRARY, former.get("LD_PRELOAD")),
        "PYTHONPATH": _first(STARTUP, former.get("PYTHONPATH")),
        "STACKWARDEN": _joined(former, "STACKWARDEN", f"interpose,isolation={isolation}"),
    }


def _first(path: str, others: str | None) -> str:
    """`path` before the others, once."""
    rest = [other for other in (others or "").split(":") if other and other != path]
    return ":".join([path, *rest])


def _joined(former: "Mapping[str, str]", name: str, words: str) -> str:
    return ",".join(filter(None, [former.get(name), words]))
