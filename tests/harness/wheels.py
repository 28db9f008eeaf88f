"""The wheel of the present sources, built once for each interpreter and again when either changed.

It is built by way of a source distribution, so what runs is what users get.

Command line:
    python3 tests/harness/wheels.py [VERSION]...    builds those that are missing, two at a time
"""

import hashlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cache
import commands
import debian
import interpreters
import tools
from paths import CHECKOUT


def wheel(interpreter: Path, *settings: str) -> Path:
    """The wheel for one interpreter; settings are those of the build backend."""

    def build(folder: Path) -> None:
        _find_boost()
        commands.say(" ".join([f"building the package for {interpreter}", *settings]))
        words = [f"--config-setting={setting}" for setting in settings]
        uv = tools.program("uv")
        commands.output(uv, "build", "--python", interpreter, "--out-dir", folder, CHECKOUT, *words)

    name = _fingerprint(interpreter, settings)
    return next(cache.make_once(CHECKOUT / "build" / "wheels" / name, build).glob("*.whl"))


def _find_boost() -> None:
    """Let the build find Boost.Context; without it the package has no adapter `fcontext`."""
    try:
        boost = debian.unpack("libboost-context-dev", release=debian.own_release())
        os.environ.setdefault("BOOST_ROOT", str(boost / "usr"))
    except commands.HarnessError as error:
        commands.say(f"building without Boost.Context: {error}")


def _fingerprint(interpreter: Path, settings: tuple[str, ...]) -> str:
    """A name for the content of the sources, the identity of the interpreter and the settings."""
    digest = hashlib.sha256()
    identity = "import sys; print(sys.executable, sys.version)"
    digest.update(commands.output(interpreter, "-I", "-c", identity).encode())
    digest.update("\0".join(settings).encode())
    for path in _source_files():
        digest.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _source_files() -> list[Path]:
    files = [CHECKOUT / "pyproject.toml"]
    for folder in ("src", "cython_src", "adapters"):
        files += sorted(path for path in (CHECKOUT / folder).rglob("*") if path.is_file())
    return [path for path in files if path.suffix != ".pyc"]


if __name__ == "__main__":
    with commands.errors_reported(), ThreadPoolExecutor(2) as pool:
        pythons = map(interpreters.find, sys.argv[1:] or interpreters.SUPPORTED)
        print(*pool.map(wheel, pythons), sep="\n")
