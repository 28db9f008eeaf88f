"""Find or get a released CPython of each supported version, with its headers.

What is installed comes first (PATH, pyenv), then a download by uv, then Debian unstable, unpacked
into a private folder. Nothing is installed into the system. A version is `3.14`, `3.14t`
(free-threaded), `3.14-dbg` (debug build) or `newest`.

Command line:
    python3 tests/harness/interpreters.py VERSION    prints the path of the interpreter
"""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cache
import commands
import debian
import tools

SUPPORTED = ("3.11", "3.12", "3.13", "3.14", "3.15")
NEWEST = "newest"

_A_DAY = 24 * 60 * 60

_SAY_WHAT_YOU_ARE = """
import os, sys, sysconfig
header = os.path.join(sysconfig.get_path("include"), "Python.h")
usable = (
    sys.implementation.name == "cpython"
    and sys.version_info.releaselevel == "final"
    and sys.prefix == sys.base_prefix
    and os.path.exists(header)
)
version = "%d.%d" % sys.version_info[:2]
version += "t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
version += "-dbg" * hasattr(sys, "gettotalrefcount")
print(version if usable else "unusable")
print(sys.executable)
"""


def find(version: str) -> Path:
    """Return a working interpreter of this version, getting one if none is installed."""
    if version == NEWEST:
        return _newest()
    for candidate in _installed(version):
        if executable := _executable(candidate, version):
            return executable
    reasons = []
    for get in (_from_uv, _from_debian):
        try:
            candidate = get(version)
        except commands.HarnessError as error:
            reasons.append(str(error))
            continue
        if executable := _executable(candidate, version):
            return executable
        reasons.append(f"{candidate} is not a released CPython {version} with headers")
    raise commands.HarnessError(
        f"no CPython {version} with its headers is on PATH or in pyenv, and none could be got. "
        "Install one, or see why that failed:\n" + "\n".join(reasons)
    )


def _newest() -> Path:
    for version in reversed(SUPPORTED):
        try:
            return find(version)
        except commands.HarnessError as error:
            commands.say(str(error))
    raise commands.HarnessError("none of the supported interpreters could be had")


def _executable(candidate: Path, version: str) -> Path | None:
    """The interpreter behind a program, if it runs and says that it is this version.

    The right name is not enough: pyenv puts a program for each of its versions on PATH, which
    fails unless that version is switched on.
    """
    try:
        said = commands.output(candidate, "-I", "-c", _SAY_WHAT_YOU_ARE)
    except commands.HarnessError:
        return None
    identity, executable = said.splitlines()
    return Path(executable) if identity == version else None


def _installed(version: str) -> Iterator[Path]:
    name = f"python{version}"
    folders = [Path(folder) for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    folders += sorted(pyenv.glob("versions/*/bin"))
    return (folder / name for folder in folders if (folder / name).is_file())


def _from_uv(version: str) -> Path:
    folder = cache.root() / "uv-pythons"
    failed = folder / f"{version}.failed"
    if failed.exists() and time.time() - failed.stat().st_mtime < _A_DAY:
        raise commands.HarnessError(
            f"uv failed less than a day ago (to try again, remove {failed})"
        )
    folder.mkdir(parents=True, exist_ok=True)
    uv = tools.program("uv")
    commands.say(f"downloading CPython {version}")
    try:
        commands.output(uv, "python", "install", "--install-dir", folder, "--no-bin", version)
    except commands.HarnessError:
        failed.touch()
        raise
    found = sorted(folder.glob(f"*/bin/python{version}"))
    if not found:
        raise commands.HarnessError(f"uv installed no python{version} in {folder}")
    return found[-1]


def _from_debian(version: str) -> Path:
    release = version.removesuffix("-dbg")
    packages = {f"python{version}", f"python{release}-dev", f"python{release}-venv"}
    return debian.unpack(*packages) / "usr/bin" / f"python{version}"


if __name__ == "__main__":
    with commands.errors_reported():
        print(find(sys.argv[1]))
