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


@pytest.fixture(scope="session")
def compile_runtime():
    """compile_runtime(target, *more_sources, name, language="c", flags=(), headers=None): runtime.c and more, with
    the header alone: no folder of Python's is on the include path."""
    python = sysconfig.get_path("include")

    def build(target, *more_sources, name, language="c", flags=(), headers=None):
        compiler = extensions.compiler(language, headers)
        words = [word for word in compiler if str(word) not in ("-isystem", python)]
        words += ["-O2", "-g", "-fvisibility=hidden", "-pthread", f"-I{HERE}", f'-DNAME="{name}"']
        sources = ["-x", language, HERE / "runtime.c", *more_sources, "-x", "none"]
        commands.output(*words, *sources, "-o", target, *flags)
        return target

    return build


@pytest.fixture(scope="session")
def library(compile_runtime, tmp_path_factory):
    """library(name="one", language="c", flags=()): the path of runtime.c as a shared library."""
    folder = tmp_path_factory.mktemp("beacon")
    made = {}

    def get(name="one", *, language="c", flags=()):
        key = (name, language, *flags)
        if key not in made:
            target = folder / f"libruntime{len(made)}.so"
            made[key] = compile_runtime(
                target, name=name, language=language, flags=["-shared", "-fPIC", *flags]
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
