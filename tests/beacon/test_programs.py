"""Beacons in executables: without Python, before it comes, while it runs, when it ends, and after it."""

import signal
from pathlib import Path

import pytest

import children
import commands
import embedding
import extensions

HERE = Path(__file__).parent
RECURSE = "from stackwarden.testing.workloads import WORKLOADS; print(WORKLOADS['add'].run())"


@pytest.mark.parametrize("linking", ["-pie", "-no-pie", "-static"])
@pytest.mark.parametrize("language", ["c", "c++"])
def test_without_python_nobody_listens_and_nothing_is_needed(
    compile_runtime, tmp_path, language, linking
):
    program = compile_runtime(
        tmp_path / "program", HERE / "without_python.c",
        name="one", language=language, flags=[linking, *(["-fPIE"] if linking == "-pie" else [])],
    )  # fmt: skip
    assert commands.output(program) == "3 calls, heard: 0\n"


@pytest.fixture(scope="session")
def embedder(compile_runtime, tmp_path_factory):
    """embedder(code, ends=0, headers=None): the lines of embedder.c, which runs the code on a stack."""
    folder = tmp_path_factory.mktemp("embedder")

    def run(code, *, ends=0, headers=None):
        program = folder / f"embedder{headers is None:d}"
        if not program.exists():
            compile_runtime(
                program,
                HERE / "embedder.c",
                name="the executable",
                headers=headers,
                flags=embedding.compiler_arguments(),
            )
        variables = embedding.variables()
        return children.run(
            program, code, ends=ends, folder=folder, **variables
        ).stdout.splitlines()

    return run


def test_python_comes_to_an_executable_and_goes(embedder):
    """The second Python of the process cannot import the core, as any module of Cython's; it runs all the same."""
    code = f"""
try:
    import stackwarden
    print(stackwarden.status()["beacons"], stackwarden.current_stack().size)
    {RECURSE}
except ImportError as error:
    print(error)
"""
    *printed, refused, after = embedder(code)
    assert printed == [
        *("before: 0", "round 0: 1", "('the executable',) 262144", "RecursionError"),
        "round 1: 1",
    ]
    assert "can be loaded once in a process" in refused
    assert after == "after: 1"


def test_an_executable_without_the_beacon_dies(embedder, silent):
    assert embedder(RECURSE, ends=-signal.SIGSEGV, headers=silent)[-1:] == ["round 0: 0"]


@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_layout_that_runtimes_and_the_core_share_is_pinned(language):
    layout = HERE.parent / "abi" / "beacon.c"
    commands.output(*extensions.compiler(language), "-x", language, "-fsyntax-only", layout)
