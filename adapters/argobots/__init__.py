"""stackwarden.adapters.argobots: Python on the user threads of Argobots, loaded at run time."""

from stackwarden.adapters.argobots._user_threads import (
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
