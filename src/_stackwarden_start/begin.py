"""What begins when Python starts: what ``STACKWARDEN`` and ``-X stackwarden`` ask for.

Called by the file that ``stackwarden enable`` writes, and by stackwarden/_startup/sitecustomize.py. Promises: once
in a process; what cannot be done is a warning that says why, and never keeps a program from starting.
"""

import warnings

from _stackwarden_start.variables import OFF, is_asked_for

TYPE_CHECKING = False  # typing costs import time
if TYPE_CHECKING:
    from typing import Literal

has_begun = False
"""Did this process's Python look at its start?"""


def begin() -> None:
    """Do what is asked for. Cheap where nothing is."""
    global has_begun
    if has_begun or OFF or not is_asked_for():
        return
    has_begun = True
    try:
        from stackwarden import SettingWarning
    except (
        ImportError
    ) as error:  # a core that refuses this interpreter, a forced mechanism that cannot work
        warnings.warn(f"STACKWARDEN is left out: {error}", RuntimeWarning, stacklevel=2)
        return
    from stackwarden._settings import settings

    asked = settings()
    reason = _interpose(asked.get("isolation", "none")) if asked.get("interpose") else None
    if reason is not None:
        warnings.warn(f"interpose is left out: {reason}", SettingWarning, stacklevel=2)


def _interpose(isolation: 'Literal["none", "frames"]') -> str | None:
    """None, or why it is of no use."""
    from stackwarden import StackwardenError, interpose, status

    try:
        interpose(isolation=isolation)
    except StackwardenError as error:
        return str(error)
    return status()["interposition_reason"]
