"""Virtual environments inside the checkout, with the package installed from a real wheel.

The wheel is built by way of a source distribution, so what runs is what users get. It is built
again only when the sources or the interpreter changed.

Command line:
    python3 tests/harness/environments.py PURPOSE VERSION    prints the environment's Python
PURPOSE is `demo`, `test`, `bench`, `suites` or `ray`; VERSION is what interpreters.py takes.
"""

import hashlib
import os
import sys
from pathlib import Path

import cache
import commands
import debian
import interpreters
import tools

CHECKOUT = Path(__file__).resolve().parents[2]

EXTRAS = {
    "demo": "cli",
    "test": "cli,test",
    "bench": "cli,bench",
    "suites": "suites",
    "ray": "cli,ray-proof",
}


def environment(purpose: str, version: str) -> Path:
    """Return the Python of an up-to-date virtual environment for this purpose."""
    interpreter = interpreters.find(version)
    wheel = _wheel(interpreter)
    folder = CHECKOUT / ".venv" / f"{interpreter.name.removeprefix('python')}-{purpose}"
    made_from = folder / "made-from"
    with cache.locked(folder.with_name(f".{folder.name}.lock")):
        if not made_from.exists() or made_from.read_text() != str(wheel):
            _make(folder, interpreter, f"stackwarden[{EXTRAS[purpose]}] @ {wheel.as_uri()}")
            made_from.write_text(str(wheel))
    return folder / "bin" / "python"


def _make(folder: Path, interpreter: Path, requirement: str) -> None:
    uv = tools.program("uv")
    commands.output(uv, "venv", "--clear", "--no-project", "--python", interpreter, folder)
    commands.output(uv, "pip", "install", "--python", folder, requirement)


def _wheel(interpreter: Path) -> Path:
    """The wheel of the present sources for one interpreter."""

    def build(folder: Path) -> None:
        uv = tools.program("uv")
        find_boost()
        commands.say(f"building the package for {interpreter}")
        commands.output(uv, "build", "--python", interpreter, "--out-dir", folder, CHECKOUT)

    folder = cache.make_once(CHECKOUT / "build" / "wheels" / _fingerprint(interpreter), build)
    return next(folder.glob("*.whl"))


def find_boost() -> None:
    """Let the build find Boost.Context; without it the package has no adapter `fcontext`."""
    try:
        boost = debian.unpack("libboost-context-dev", release=debian.own_release())
        os.environ.setdefault("BOOST_ROOT", str(boost / "usr"))
    except commands.HarnessError as error:
        commands.say(f"building without Boost.Context: {error}")


def _fingerprint(interpreter: Path) -> str:
    """A name for the content of the sources and the identity of the interpreter."""
    digest = hashlib.sha256()
    identity = "import sys; print(sys.executable, sys.version)"
    digest.update(commands.output(interpreter, "-I", "-c", identity).encode())
    for path in _source_files():
        digest.update(f"{path.relative_to(CHECKOUT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _source_files() -> list[Path]:
    """What a wheel is made from."""
    files = [CHECKOUT / "pyproject.toml"]
    for folder in ("src", "cython_src", "adapters"):
        files += sorted(path for path in (CHECKOUT / folder).rglob("*") if path.is_file())
    return [path for path in files if path.suffix != ".pyc"]


if __name__ == "__main__":
    with commands.errors_reported():
        print(environment(*sys.argv[1:]))
