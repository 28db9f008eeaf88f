"""Folders that are made once; a half-made one is never taken for a finished one."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def root() -> Path:
    """The project's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stackwarden"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file for the body, while others wait; it is let go of when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return `folder`; if there is none yet, `make` fills a temporary one that is renamed to it."""
    with locked(folder.with_name(f".{folder.name}.lock")):
        if not folder.exists():
            unfinished = folder.with_name(f".{folder.name}.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            make(unfinished)
            unfinished.rename(folder)
    return folder
