"""Lets tests import the modules of tests/harness: `availability` has the rule for skips.

The fixtures build the extensions that tests share, once for each run, and run child programs.
"""

import importlib
import mmap
import os
import sys
import warnings
from pathlib import Path

import pytest

HERE = Path(__file__).parent
MIB = 1 << 20
PAGE = mmap.PAGESIZE
sys.path.insert(0, str(HERE / "harness"))

SHARED = HERE / "extensions"
PROBE = SHARED / "capi_probe"
DEPTH_PROBE = SHARED / "depth_probe" / "depth_probe.c"
FIBERS = SHARED / "fibers" / "fibers.c"


def pytest_collection_modifyitems(items):
    """The core comes first, for it counts what is registered; adapters last, for they retain stacks."""
    order = {HERE / "core": -1, HERE / "adapters": 1}
    items.sort(key=lambda item: sum(order.get(folder, 0) for folder in item.path.parents))


@pytest.fixture
def high_limit():
    """The recursion limit is not what ends the recursion."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10**6 if sys.version_info >= (3, 12) else 3000)
    yield
    sys.setrecursionlimit(before)


@pytest.fixture
def unchecked(monkeypatch):
    """The test tells of stacks that it is not on, on purpose: the checking mode lets it and its children pass."""
    import children
    import stackwarden
    from stackwarden import _checking

    monkeypatch.setattr(children, "CHECKED", "")
    monkeypatch.setattr(_checking, "ERROR", False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stackwarden.StackMismatchWarning)
        yield


@pytest.fixture(params=["ucontext", "asm", "fcontext"])
def adapter(request):
    """Each of the adapters whose coroutines are the same."""
    from availability import unavailable

    try:
        return importlib.import_module(f"stackwarden.adapters.{request.param}")
    except ImportError as error:
        unavailable({"fcontext": "boost"}.get(request.param, request.param), str(error))


@pytest.fixture(scope="session")
def probe_folder():
    """The folder of the compiled modules capi_probe and cpython_bounds."""
    import extensions

    extensions.build([PROBE / "cpython_bounds.c"], "cpython_bounds")
    return extensions.build([PROBE / "capi_probe.c"], "capi_probe").parent


@pytest.fixture(scope="session")
def probe(probe_folder):
    """tests/extensions/capi_probe, with the package's table found."""
    import stackwarden  # noqa: F401 (its key for thread exit comes before the probe's)

    sys.path[:0] = [str(probe_folder), str(PROBE)]
    import capi_probe

    capi_probe.import_table()
    return capi_probe


@pytest.fixture(scope="session")
def diver(probe_folder):
    """tests/extensions/depth_probe, with the package's table found. Child programs can import it too."""
    import extensions

    module = extensions.load(extensions.build([DEPTH_PROBE], "depth_probe"))
    module.import_table()
    return module


@pytest.fixture(scope="session")
def fibers(probe_folder):
    """tests/extensions/fibers, user threads in C, with the public header alone. Children can import it too."""
    import extensions

    return extensions.load(extensions.build([FIBERS], "fibers"))


@pytest.fixture(scope="session")
def capi(probe):
    """The C functions: capi.attached.notify(...), capi.detached.notify(...), ..."""
    import capi

    return capi


@pytest.fixture(scope="session")
def effective_bounds(probe):
    """effective_bounds(): what CPython checks for this thread now, read without the core's help."""
    import cpython_bounds

    return cpython_bounds.read


@pytest.fixture
def memory(probe):
    """memory(size=1 MiB): the address of fresh memory, given back after the test."""
    mapped = []

    def get(size=MIB):
        mapped.append((probe.map_memory(size), size))
        return mapped[-1][0]

    yield get
    for base, size in mapped:
        probe.unmap_memory(base, size)


@pytest.fixture
def area(probe):
    """area(size): the address of fresh memory with a page on either side that cannot be touched, so that it does
    not merge with anybody's."""
    mapped = []

    def get(size):
        whole = size + 2 * PAGE
        mapped.append((probe.map_memory(whole), whole))
        low = mapped[-1][0] + PAGE
        probe.forbid(low - PAGE, PAGE)
        probe.forbid(low + size, PAGE)
        return low

    yield get
    for base, size in mapped:
        probe.unmap_memory(base, size)


@pytest.fixture(scope="session")
def child(probe_folder):
    """child(program, **how): children.run_python, and capi_probe and cpython_bounds can be imported."""

    def run(program, **how):
        import children

        path = os.pathsep.join([str(probe_folder), str(PROBE)])
        return children.run_python(program, **{"PYTHONPATH": path, "folder": probe_folder} | how)

    return run
