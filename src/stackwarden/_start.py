"""What begins when Python starts: what ``STACKWARDEN`` and ``-X stackwarden`` ask for.

Called by the file that ``stackwarden enable`` writes, and by _startup/sitecustomize.py. Promises: once in a
process; what cannot be done is a SettingWarning, and never keeps a program from starting.
"""

import warnings

from stackwarden._variables import OFF, is_asked_for

_begun = False


def begin() -> None:
    """Do what is asked for. Cheap where nothing is."""
    global _begun
    if _begun or OFF or not is_asked_for():
        return
    _begun = True
    from stackwarden import SettingWarning, StackwardenError, interpose
    from stackwarden._settings import settings

    asked = settings()
    if asked.get("interpose"):
        try:
            interpose(isolation=asked.get("isolation", "none"))
        except StackwardenError as error:
            warnings.warn(f"interpose is left out: {error}", SettingWarning, stacklevel=2)
