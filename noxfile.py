"""What runs in an environment with the built wheel: a session for each purpose and interpreter.

`make` starts them through tests/harness/sessions.py, which finds the interpreters that are wanted; nox by itself
(`nox -s test-3.14 -- -k fork`) takes all that are supported. Environments stay in .venv from one run to the next.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent / "tests" / "harness"))

import interpreters
import sessions
import wheels
from commands import HarnessError
from paths import CHECKOUT, TESTS

nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.envdir = str(sessions.FOLDER)
os.environ["NOX_ENABLE_STALENESS_CHECK"] = "1"  # another interpreter, another environment

# Purpose: the package's extras, and the Python program.
RUNS = {
    "demo": ("cli", ["-m", "stackwarden", "demo"]),
    "bench": ("cli,bench", [TESTS / "bench" / "run.py"]),
    "suites": ("suites", [TESTS / "suites" / "run.py"]),
    "cpython-tests": ("suites", [TESTS / "suites" / "cpython.py"]),
    "soak": ("suites", [TESTS / "nets" / "soak.py"]),
    "ray": ("cli,ray-proof", ["-c", ""]),  # tests/adapters/ray uses the environment
}
SANITIZERS = {"address": "address,undefined", "thread": "thread"}
WHAT_IS_IMPORTED = """
import platform, stackwarden
print(platform.python_version(), stackwarden.__file__)
"""


def install(session: nox.Session, extras: str, *settings: str) -> None:
    try:
        wheel = wheels.wheel(Path(session.python), *settings)
    except HarnessError as error:
        session.error(str(error))
    session.install(f"stackwarden[{extras}] @ {wheel.as_uri()}")


def test(session: nox.Session) -> None:
    """Run pytest from an empty folder, so that nothing of the checkout is imported by mistake."""
    install(session, "cli,test")
    with tempfile.TemporaryDirectory() as empty, session.chdir(empty):
        said = session.run("python", "-c", WHAT_IS_IMPORTED, silent=True, log=False)
        if said is None:  # nox only installs
            return
        release, imported = said.split()
        if not Path(imported).is_relative_to(session.env_dir):
            session.error(f"{imported} is imported, which was not installed here")
        session.run("python", "-m", "pytest", *pytest_arguments(session, release))


def pytest_arguments(session: nox.Session, release: str) -> list[str | Path]:
    """All tests, or those that are named, by paths as seen from the checkout."""
    told = [CHECKOUT / word if word.startswith("tests") else word for word in session.posargs]
    folder = session.env_dir
    return [
        *("--rootdir", CHECKOUT, "--config-file", CHECKOUT / "pyproject.toml"),
        *("--junit-xml", folder / "report.xml", "-o", f"junit_suite_name={release}"),
        *("-o", f"cache_dir={folder / 'pytest-cache'}"),
        *(told if told != session.posargs else [TESTS, *told]),
    ]


@nox.parametrize("leg", [nox.param(leg, id=leg) for leg in SANITIZERS])
def sanitize(session: nox.Session, leg: str) -> None:
    """Run tests against a core that is compiled with sanitizers."""
    install(
        session,
        "cli,test",
        f"cmake.define.STACKWARDEN_SANITIZE={SANITIZERS[leg]}",
        # -O1: twice as fast to compile as -O2, and reports name the lines.
        "cmake.define.CMAKE_C_FLAGS=-O1 -fno-sanitize-recover=all",
        *("cmake.build-type=None", "install.strip=false"),
    )
    session.run("python", TESTS / "sanitizers" / "run.py", leg, *session.posargs)


def program(extras: str, words: list[str | Path]) -> nox.registry.RawFunc:
    """A session that runs a program, with what nox is told after `--`."""

    def run(session: nox.Session) -> None:
        install(session, extras)
        session.run("python", *words, *session.posargs)

    return run


told = os.environ.get(sessions.PYTHONS)
pythons = (
    json.loads(told) if told else {v: str(interpreters.find(v)) for v in interpreters.SUPPORTED}
)
for version, interpreter in pythons.items():
    nox.session(test, name=f"test-{version}", python=interpreter, allow_parallel=True)
    nox.session(sanitize, name=f"sanitize-{version}", python=interpreter)
    for purpose, (extras, words) in RUNS.items():
        nox.session(program(extras, words), name=f"{purpose}-{version}", python=interpreter)
