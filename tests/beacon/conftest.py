"""Fixtures: runtime.c compiled as a library, and child programs that load it with ctypes."""

import sysconfig
import textwrap
from pathlib import Path

import pytest

import commands
import extensions

HERE = Path(__file__).parent

PRELUDE = """\
import ctypes, os, sys, threading
WORK = ctypes.CFUNCTYPE(None)
STACK = 256 << 10

class Runtime(ctypes.CDLL):
    def __init__(self, path, mode=ctypes.DEFAULT_MODE):
        super().__init__(path, mode)
        self.make_stack.restype = ctypes.c_void_p
        self.make_stack.argtypes = [ctypes.c_size_t]
        self.free_stack.argtypes = self.tell.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self.call_on.argtypes = [ctypes.c_void_p, ctypes.c_size_t, WORK]

    def returned(self, work):
        "What a function returns on a new stack of the runtime."
        results = []
        self.call_on_new_stack(WORK(lambda: results.append(work())))
        return results[0]

def recurse():
    from stackwarden.testing.workloads import WORKLOADS
    return WORKLOADS["add"].run()
"""


def compile_without_python(target, *sources, language="c", flags=(), headers=None):
    """Compile with the header alone: no folder of Python's is on the include path."""
    python = sysconfig.get_path("include")
    words = [
        word
        for word in extensions.compiler(language, headers)
        if str(word) not in ("-isystem", python)
    ]
    words += ["-O2", "-g", "-fvisibility=hidden", "-pthread", f"-I{HERE}"]
    commands.output(*words, "-x", language, *sources, "-x", "none", "-o", target, *flags)
    return target


@pytest.fixture(scope="session")
def compile_runtime():
    """compile_runtime(target, *more_sources, **options): runtime.c, and more."""

    def build(target, *more_sources, name="one", language="c", flags=(), headers=None):
        sources = [HERE / "runtime.c", *more_sources]
        defined = f'-DNAME="{name}"'
        return compile_without_python(
            target, *sources, language=language, flags=[defined, *flags], headers=headers
        )

    return build


@pytest.fixture(scope="session")
def recipe(tmp_path_factory):
    """recipe(file_name, headers=None): the path of an example of docs/examples/beacon as a shared library."""
    folder = tmp_path_factory.mktemp("recipes")
    examples = HERE.parents[1] / "docs" / "examples" / "beacon"

    def get(file_name, *, headers=None):
        source = examples / file_name
        language = "c++" if source.suffix == ".cpp" else "c"
        target = folder / f"lib{source.stem}{headers is None:d}.so"
        flags = ["-shared", "-fPIC", "-D_GNU_SOURCE"] if language == "c" else ["-shared", "-fPIC"]
        return compile_without_python(
            target, source, language=language, flags=flags, headers=headers
        )

    return get


@pytest.fixture(scope="session")
def silent():
    """A folder of headers for the unguarded twins: its beacon.h does nothing."""
    return HERE / "silent"


@pytest.fixture(scope="session")
def library(compile_runtime, tmp_path_factory):
    """library(name="one", language="c", flags=(), headers=None): the path of runtime.c as a shared library."""
    folder = tmp_path_factory.mktemp("beacon")
    made = {}

    def get(name="one", *, language="c", flags=(), headers=None):
        key = (name, language, *flags, headers)
        if key not in made:
            target = folder / f"libruntime{len(made)}.so"
            made[key] = compile_runtime(
                target,
                name=name,
                language=language,
                flags=["-shared", "-fPIC", *flags],
                headers=headers,
            )
        return made[key]

    return get


@pytest.fixture
def beacon_child(child):
    """beacon_child(program, *libraries, ends=0): its lines; the libraries are in LIBRARIES."""

    def run(program, *libraries, ends=0, **options):
        listed = f"LIBRARIES = {[str(path) for path in libraries]}\n"
        done = child(PRELUDE + listed + textwrap.dedent(program), ends=ends, **options)
        return done.stdout.splitlines()

    return run
