"""Fixtures: real thread pools of others, and child programs that wrap them."""

import os
import sysconfig
import textwrap
from pathlib import Path

import pytest

import commands
import debian
import extensions
from availability import unavailable

HERE = Path(__file__).parent
POOLS = [
    "executor",
    "gevent",
    "gevent executor",
    "multiprocessing",
    "pthreads 64K",
    "asio",
    "tbb",
    "function",
]

# start(kind, threads): something to wrap, and what ends it. No kind is imported that is not asked for.
PRELUDE = """\
import concurrent.futures, contextvars, ctypes, os, sys, threading, time
import stackwarden
from stackwarden import stacks, wrap_thread_pool
from stackwarden.testing.workloads import WORKLOADS

def start(kind, threads=3):
    if kind == "executor":
        pool = concurrent.futures.ThreadPoolExecutor(threads)
        return pool, pool.shutdown
    if kind == "gevent":
        from gevent.threadpool import ThreadPool
        pool = ThreadPool(threads)
        return pool, pool.kill
    if kind == "gevent executor":
        from gevent.threadpool import ThreadPoolExecutor
        pool = ThreadPoolExecutor(threads)
        return pool, pool.shutdown
    if kind == "multiprocessing":
        from multiprocessing.pool import ThreadPool
        pool = ThreadPool(threads)
        return pool, pool.terminate
    if kind.startswith("pthreads"):
        from native_pools import PthreadPool
        pool = PthreadPool(threads, int(kind.split()[1].rstrip("K")) << 10)
        return pool, pool.close
    if kind == "asio":
        from native_pools import AsioPool
        pool = AsioPool(threads)
        return pool, pool.join
    if kind == "tbb":
        from tbb_pool import ArenaPool
        pool = ArenaPool(threads)
        return pool, pool.wait
    if kind == "function":
        pool, end = start("pthreads 64K", threads)
        return lambda task: pool.enqueue(lambda: task("whatever", 3)), end
    raise ValueError(kind)

def recurse():
    return WORKLOADS["add"].run()

KIND = sys.argv[1]
"""


@pytest.fixture(scope="session")
def native_pools():
    """The folder of the compiled module native_pools."""
    pybind11 = pytest.importorskip("pybind11")
    try:
        boost = debian.unpack("libboost-context-dev", release=debian.own_release()) / "usr/include"
    except commands.HarnessError as error:
        unavailable("boost", str(error))
    options = ["-isystem", pybind11.get_include(), "-isystem", boost, "-O0", "-g0"]
    return extensions.build(
        [HERE / "native_pools.cpp"], "native_pools", language="c++", args=options
    ).parent


@pytest.fixture(scope="session")
def tbb_pool():
    """The folder of the compiled module tbb_pool."""
    pybind11 = pytest.importorskip("pybind11")
    data = Path(sysconfig.get_path("data"))
    library = data / "lib" / "libtbb.so.12"
    if not library.exists():
        unavailable("tbb", f"there is no {library}")
    options = ["-isystem", pybind11.get_include(), "-isystem", data / "include"]
    options += [library, f"-Wl,-rpath,{library.parent}", "-O0", "-g0"]
    return extensions.build(
        [HERE / "tbb_pool.cpp"], "tbb_pool", language="c++", args=options
    ).parent


@pytest.fixture
def pool_child(request, child):
    """pool_child(kind, program, ends=0): its lines. `KIND` is the kind of pool, `start(KIND)` makes one."""

    def run(kind, program, **options):
        module = "tbb_pool" if kind == "tbb" else "native_pools"
        folder = request.getfixturevalue(module)
        path = os.pathsep.join([str(folder), *options.pop("path", ())])
        options.setdefault("seconds", 40)
        text = PRELUDE + textwrap.dedent(program)
        return child(text, arguments=[kind], PYTHONPATH=path, **options).stdout.splitlines()

    return run


@pytest.fixture(params=POOLS)
def kind(request):
    """Each kind of pool."""
    return request.param


@pytest.fixture(params=[kind for kind in POOLS if "gevent" not in kind])
def queueing_kind(request):
    """Each kind of pool that takes tasks while all its threads are busy; gevent's make the caller wait."""
    return request.param
