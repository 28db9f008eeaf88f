"""CPython's own tests of recursion and deep nesting: on another stack they come to the same as on the native one.

They come from Debian's package of the test suite of CPython 3.14, and run under the Python that runs
this. Each set runs twice in a process of its own, on the native stack and inside
call_on_stack(stack_size="8M"); then passes, failures and skips are compared, test by test. The last
line says what was the same.

Command line: python tests/suites/cpython.py [SET]...
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "harness"))

import commands  # noqa: E402
import debian  # noqa: E402

VERSION = "3.14"
SETS = (
    "test_call.TestRecursion", "test_exceptions", "test_traceback", "test_ast", "test_json.test_recursion",
    "test_pickle", "test_copy", "test_list", "test_functools", "test_isinstance",
)  # fmt: skip
SECONDS = 900


def results(packages: Path, name: str, stack_size: str) -> dict[str, list[str]]:
    """What each test of a set came to; `stack_size` "" is the native stack."""
    with tempfile.TemporaryDirectory() as folder:
        program = [sys.executable, "-X", "faulthandler", HERE / "cpython_run.py"]
        done = subprocess.run(
            [*program, f"test.{name}", stack_size],
            env={**os.environ, "PYTHONPATH": str(packages), "PYTHONHASHSEED": "0"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    if done.returncode != 0:
        print(done.stdout[-20_000:], flush=True)
        raise commands.HarnessError(f"{name} ended with {done.returncode}")
    found: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(packages: Path, name: str) -> bool:
    """Run a set on both stacks, and say how they compare."""
    start = time.monotonic()
    native, there = (results(packages, name, size) for size in ("", "8M"))
    different = {
        test for test in native.keys() | there.keys() if native.get(test) != there.get(test)
    }
    words = Counter(re.split(r"[ :]", outcome)[0] for one in native.values() for outcome in one)
    counts = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
    same = bool(native) and not different
    seconds = time.monotonic() - start
    print(f"{name}: {'the same' if same else 'DIFFERENT'}: {counts}; {seconds:.0f} s", flush=True)
    for test in sorted(different):
        print(f"  {test}: native {native.get(test)}, there {there.get(test)}")
    return same


def packages_folder(folder: Path) -> Path:
    """A folder to import CPython's tests from, of the very release that runs."""
    unpacked = debian.unpack(f"libpython{VERSION}-testsuite") / "usr/lib" / f"python{VERSION}"
    (folder / "test").symlink_to(unpacked / "test")
    release = platform.python_version()
    print(f"CPython {release}, tests of Debian's libpython{VERSION}-testsuite", flush=True)
    return folder


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Run CPython's own tests on another stack.")
    parser.add_argument("sets", nargs="*", metavar="SET", default=SETS, help=", ".join(SETS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packages = packages_folder(Path(folder))
        same = [compare(packages, name) for name in options.sets]
    print(f"cpython-tests: {sum(same)} of {len(same)} sets the same on both stacks")
    return 0 if all(same) else 1


if __name__ == "__main__":
    with commands.errors_reported():
        sys.exit(main())
