"""stackwarden.adapters.massivethreads: Python on the user threads of MassiveThreads, loaded at run time."""

from stackwarden.adapters.massivethreads._user_threads import (
    DEFAULT_STACK_SIZE,
    UserThread,
    install,
    is_loaded,
    pause,
    uninstall,
    workers,
)

__all__ = [
    "DEFAULT_STACK_SIZE",
    "UserThread",
    "install",
    "is_loaded",
    "pause",
    "uninstall",
    "workers",
]
