"""The environment in which whole trees of processes are interposed, whatever programs they run."""

import os
from collections.abc import Mapping
from typing import Literal

from stackwarden import _where
from stackwarden.errors import InterpositionError


def interposed_environment(
    environment: Mapping[str, str] | None = None,
    *,
    isolation: Literal["none", "frames"] = "none",
) -> dict[str, str]:
    """The variables that are to be set, with their values; what `environment` has in them stays in force.

    For a process and all that it starts: ``LD_PRELOAD`` reaches programs that are not Python, ``PYTHONPATH`` has
    Pythons import the core where it is installed for their version, ``STACKWARDEN`` says what it is to do.
    `environment` defaults to that of this process. Raises InterpositionError where there is no interposition.
    """
    former = os.environ if environment is None else environment
    library = _where.interpose_library()
    if not os.path.exists(library):  # noqa: PTH110
        raise InterpositionError(
            f"there is no interposition on this platform: {library} is missing"
        )
    if " " in library or ":" in library:
        raise InterpositionError(f"LD_PRELOAD cannot name a path with spaces or colons: {library}")
    asked = f"interpose,isolation={isolation}"
    return {
        "LD_PRELOAD": _joined(library, former.get("LD_PRELOAD"), ":"),
        "PYTHONPATH": _joined(_where.startup_folder(), former.get("PYTHONPATH"), ":"),
        "STACKWARDEN": ",".join(filter(None, [former.get("STACKWARDEN"), asked])),
    }


def _joined(first: str, others: str | None, separator: str) -> str:
    """`first` before the others, once."""
    rest = [other for other in (others or "").split(separator) if other and other != first]
    return separator.join([first, *rest])
