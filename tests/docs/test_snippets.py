"""What the documents show works as it stands: each block of code is run, or compiled.

A Python block runs in a child, and prints what the `text` block right after it says, if there is
one. C and C++ blocks are whole files that compile without a warning. A Cython block becomes a
module that can be imported. A CMake block builds the C or C++ block before it. The module
`my_system` is the C block of docs/user-threads.md. The rest is not run.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import children
import commands
import debian
import extensions
import paths
import user_threads
from availability import find_program, unavailable

CHECKOUT = paths.CHECKOUT
DOCUMENTS = [
    *sorted(CHECKOUT.glob("*.md")),
    *sorted(CHECKOUT.glob("docs/**/*.md")),
    *sorted(CHECKOUT.glob("adapters/**/*.md")),
]
NOT_RUN = {"text", "sh", "toml", "julia"}  # julia: run by the adapter's own test

FENCED = re.compile(r"^```(?P<language>\S*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A block of code, the block before it, and what it must print, if that is told."""

    place: str
    language: str
    code: str
    before: "Block | None"
    prints: str | None


def blocks_of(document: Path) -> list[Block]:
    """All fenced blocks of a document."""
    text = document.read_text()
    found: list[Block] = []
    for match in FENCED.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        after = FENCED.match(text, match.end() + len("\n\n"))
        prints = after["code"] if after and after["language"] == "text" else None
        place = f"{document.relative_to(CHECKOUT)}:{line}"
        before = found[-1] if found else None
        found.append(Block(place, match["language"], match["code"], before, prints))
    return found


BLOCKS = [block for document in DOCUMENTS for block in blocks_of(document)]


def written_in(*languages: str) -> pytest.MarkDecorator:
    """Run a test for each block in one of these languages."""
    blocks = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", blocks, ids=[block.place for block in blocks])


def run(*command: str | Path, folder: Path, **variables: str) -> str:
    """The standard output of a child that must end well and complain of nothing."""
    done = children.run(*command, folder=folder, **variables)
    assert done.stderr == ""
    return done.stdout


def test_every_block_says_what_it_is_written_in():
    known = {"python", "c", "c++", "cython", "cmake", *NOT_RUN}
    assert {block.place: block.language for block in BLOCKS if block.language not in known} == {}


@written_in("python")
def test_a_python_block_runs(block, tmp_path):
    if "stackwarden.adapters.fcontext" in block.code:
        try:
            import stackwarden.adapters.fcontext  # noqa: F401
        except ImportError as error:
            unavailable("boost", str(error))
    program = tmp_path / "block.py"
    program.write_text(block.code)
    python, variables = [sys.executable], {}
    if "import my_system" in block.code:
        user_threads.build_example(tmp_path)
    for system in user_threads.SYSTEMS:
        if f"stackwarden.adapters.{system}" in block.code:
            python = user_threads.python(system)
            variables["LD_LIBRARY_PATH"] = str(user_threads.library(system).parent)
    printed = run(*python, program, folder=tmp_path, **variables)
    if block.prints is not None:
        assert printed == block.prints


@written_in("c", "c++")
def test_a_c_or_cxx_block_compiles(block, tmp_path):
    source = tmp_path / f"block.{block.language.replace('+', 'p')}"
    source.write_text(block.code)
    include = boost_headers() if "/boost_" in block.code else []
    include += [f"-I{user_threads.EXAMPLE}"]
    commands.output(*extensions.compiler(block.language), *include, "-fsyntax-only", source)


def boost_headers() -> list[str | Path]:
    """Arguments of the compiler."""
    try:
        boost = debian.unpack("libboost-fiber1.81-dev", release=debian.own_release())
    except commands.HarnessError as error:
        unavailable("boost", str(error))
    return ["-isystem", boost / "usr" / "include"]


@written_in("cython")
def test_a_cython_block_becomes_a_module(block, tmp_path):
    source = tmp_path / "block.pyx"
    source.write_text(block.code)
    commands.output(sys.executable, "-m", "cython", "-3", source)
    sources = [source.with_suffix(".c")]
    if '"scheduler.h"' in block.code:
        sources.append(user_threads.EXAMPLE / "scheduler.c")
    module = extensions.build(sources, "block", include=[user_threads.EXAMPLE], args=["-w"])
    run(sys.executable, "-c", "import block", folder=module.parent)


@written_in("cmake")
def test_a_cmake_block_builds_the_block_before_it(block, tmp_path):
    (source,) = re.findall(r"\bmine\.\w+", block.code)
    (tmp_path / source).write_text(block.before.code)
    (tmp_path / "CMakeLists.txt").write_text(block.code)
    found = commands.output(sys.executable, "-m", "stackwarden", "--cmakedir").strip()
    cmake = find_program("cmake")
    commands.output(
        *(cmake, "-S", tmp_path, "-B", tmp_path / "build", f"-Dstackwarden_DIR={found}"),
        f"-DPython_EXECUTABLE={sys.executable}",
    )
    commands.output(cmake, "--build", tmp_path / "build")
