"""@sync_on_call: Python callables that ctypes and cffi call back, on foreign stacks and in foreign threads."""

import ctypes
import sys
from pathlib import Path

import pytest

import extensions
import stackwarden
from stackwarden import sync_on_call

HERE = Path(__file__).parent
KIB = 1024
SIZE = 256 * KIB
COUNTS = sys.version_info < (3, 14)


@pytest.fixture(scope="module")
def library_path():
    return extensions.build([HERE / "on_stack.c"], "on_stack")


class Ctypes:
    """call_on(base, size, function, value) and call_in_thread: by ctypes."""

    def __init__(self, path):
        library = ctypes.CDLL(path)
        self._type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
        self.call_on = self._caller(library.call_on)
        self.call_in_thread = self._caller(library.call_in_thread)

    def _caller(self, function):
        function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, self._type, ctypes.c_int]
        return lambda base, size, called, value: function(base, size, self._type(called), value)


class Cffi:
    """The same by cffi."""

    def __init__(self, path):
        import cffi

        self._ffi = cffi.FFI()
        self._ffi.cdef("""
            int call_on(void *base, size_t size, int (*function)(int), int value);
            int call_in_thread(void *base, size_t size, int (*function)(int), int value);
        """)
        library = self._ffi.dlopen(str(path))
        self.call_on = self._caller(library.call_on)
        self.call_in_thread = self._caller(library.call_in_thread)

    def _caller(self, function):
        def call(base, size, called, value):
            callback = self._ffi.callback("int(int)", called)
            return function(self._ffi.cast("void *", base), size, callback, value)

        return call


@pytest.fixture(params=[Ctypes, Cffi])
def foreign(request, library_path):
    return request.param(library_path)


def test_a_callback_runs_with_the_bounds_of_the_stack_it_is_called_on(foreign, area):
    base, seen = area(SIZE), []

    @sync_on_call
    def callback(value):
        seen.append(stackwarden.current_stack())
        return value + 1

    assert foreign.call_on(base, SIZE, callback, 41) == 42
    assert (seen[0].base, seen[0].size, seen[0].bounds_from) == (base, SIZE, "map")
    assert stackwarden.current_stack().bounds_from == "native"


def test_undecorated_nobody_knows(foreign, area):
    base, seen = area(SIZE), []

    def callback(value):
        seen.append(stackwarden.current_stack().bounds_from)
        return value

    foreign.call_on(base, SIZE, callback, 0)
    assert seen == ["native"]


def test_a_callback_in_a_foreign_thread_is_on_its_native_stack(foreign, area):
    base, size, seen = area(512 * KIB), 512 * KIB, []

    @sync_on_call
    def callback(value):
        stack = stackwarden.current_stack()
        seen.append((stack.bounds_from, base <= stack.base < stack.top <= base + size))
        return value + 1

    assert foreign.call_in_thread(base, size, callback, 1) == 2
    assert seen == [("native", True)]


def test_callbacks_inside_callbacks(foreign, area):
    bases = [area(SIZE) for _ in range(3)]
    seen = []

    @sync_on_call
    def callback(level):
        seen.append(stackwarden.current_stack().base)
        if level < 2:
            foreign.call_on(bases[level + 1], SIZE, callback, level + 1)
            seen.append(stackwarden.current_stack().base)
        return level

    foreign.call_on(bases[0], SIZE, callback, 0)
    assert seen == [*bases, bases[1], bases[0]]


def test_results_arguments_and_exceptions_pass_through():
    @sync_on_call
    def function(*args, **kwargs):
        if not args:
            raise KeyError("nothing")
        return args, kwargs

    assert function(1, 2, three=3) == ((1, 2), {"three": 3})
    with pytest.raises(KeyError, match="nothing"):
        function()


def test_the_decorated_callable_looks_like_the_one_it_was():
    @sync_on_call
    def function(number: int) -> int:
        """What it does."""
        return number

    assert (function.__name__, function.__doc__) == ("function", "What it does.")
    assert function.__wrapped__.__annotations__ == {"number": int, "return": int}


def test_methods_can_be_decorated():
    class Handler:
        @sync_on_call
        def handle(self, value):
            return self, value

    handler = Handler()
    assert handler.handle(1) == (handler, 1)


def test_what_cannot_be_called_is_refused():
    with pytest.raises(TypeError, match="int"):
        sync_on_call(3)


RECURSE = """
    import faulthandler, resource
    import ctypes, sys
    import capi_probe
    import stackwarden
    from stackwarden.testing.workloads import WORKLOADS

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path, workload, decorated = sys.argv[1:]
    library = ctypes.CDLL(path)
    signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
    library.call_on.argtypes = [ctypes.c_void_p, ctypes.c_size_t, signature, ctypes.c_int]
    SIZE = 256 * 1024
    area = capi_probe.map_memory(SIZE + 8192)
    capi_probe.forbid(area, 4096)
    capi_probe.forbid(area + 4096 + SIZE, 4096)

    def callback(value):
        print(WORKLOADS[workload].run(), flush=True)
        return value

    if decorated == "decorated":
        callback = stackwarden.sync_on_call(callback)
    library.call_on(area + 4096, SIZE, signature(callback), 0)
    print(WORKLOADS["add"].run())
"""


def test_recursion_in_a_callback_raises(child, library_path):
    done = child(RECURSE, arguments=(str(library_path), "add", "decorated"))
    assert done.stdout == "RecursionError\nRecursionError\n"


@pytest.mark.parametrize("size", [256] if COUNTS else [256, 64])
def test_recursion_through_synced_callables_raises_too(child, library_path, size):
    """Each level syncs, and the bounds stay where they are."""
    program = RECURSE.replace(
        "print(WORKLOADS[workload].run(), flush=True)", "print(recursion(), flush=True)"
    ).replace(
        "    def callback",
        """    @stackwarden.sync_on_call
    def deeper():
        return deeper()

    def recursion():
        sys.setrecursionlimit(100_000)
        try:
            deeper()
        except RecursionError:
            return "RecursionError"
        finally:
            sys.setrecursionlimit(1000)

    def callback""",
    )
    program = program.replace("256 * 1024", f"{size} * 1024")
    done = child(program, arguments=(str(library_path), "add", "decorated"))
    assert done.stdout == "RecursionError\nRecursionError\n"


def test_and_dies_undecorated(child, library_path):
    child(RECURSE, arguments=(str(library_path), "add", "plain"), ends=-11)


def test_containers_are_freed_in_a_callback(child, library_path):
    done = child(RECURSE, arguments=(str(library_path), "containers", "decorated"))
    assert done.stdout == "freed\nRecursionError\n"


@pytest.mark.skipif(COUNTS, reason="3.14 and later put off deallocation")
def test_and_leak_undecorated(child, library_path):
    done = child(RECURSE, arguments=(str(library_path), "containers", "plain"))
    assert done.stdout == "leaked\nRecursionError\n"


# ---- min_stack: calls that arrive on too little go to another stack ----


def goes_elsewhere(foreign, area, size, **options):
    """Is a callback that arrives on a stack of so many bytes run on another one?"""
    base, seen = area(size), []

    @sync_on_call(**options)
    def callback(value):
        stack = stackwarden.current_stack()
        seen.append(not base <= stack.base < base + size)
        return value + 1

    assert foreign.call_on(base, size, callback, 1) == 2
    return seen[0]


def test_a_call_with_less_than_min_stack_left_goes_to_another_stack(foreign, area):
    assert goes_elsewhere(foreign, area, 96 * KIB, min_stack="128K")
    assert not goes_elsewhere(foreign, area, 224 * KIB, min_stack="128K")
    assert not goes_elsewhere(foreign, area, 96 * KIB)


def test_and_so_is_one_on_a_stack_whose_end_nobody_knows(foreign, area):
    def several(size):
        base = area(size)
        ctypes.memset(base, 1, 1)  # in use at its low end: maybe another stack's
        return base

    assert goes_elsewhere(foreign, several, 4 * 1024 * KIB, min_stack=128 * KIB)
    assert not goes_elsewhere(foreign, area, 4 * 1024 * KIB, min_stack=128 * KIB)


def test_a_thread_of_a_pool_with_64_kib_stacks_runs_python_that_needs_more(foreign, area):
    """The known case: a pool of C++ threads that calls Python handlers."""
    from stackwarden.testing.workloads import WORKLOADS

    outcomes = []

    @sync_on_call(min_stack="128K")
    def handler(value):
        stack = stackwarden.current_stack()
        outcomes.append((stack.size > 1024 * KIB, WORKLOADS["add"].run()))
        return value + 1

    base, size = area(64 * KIB), 64 * KIB
    assert foreign.call_in_thread(base, size, handler, 1) == 2
    assert outcomes == [(True, "RecursionError")]


def test_the_setting_is_the_default_of_min_stack(child, library_path):
    program = """
        import ctypes, sys
        import capi_probe
        import stackwarden

        library = ctypes.CDLL(sys.argv[1])
        signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)
        library.call_on.argtypes = [ctypes.c_void_p, ctypes.c_size_t, signature, ctypes.c_int]

        @signature
        @stackwarden.sync_on_call
        def callback(value):
            print(stackwarden.current_stack().size)
            return value

        SIZE = 96 * 1024
        area = capi_probe.map_memory(SIZE + 8192)
        capi_probe.forbid(area, 4096)
        capi_probe.forbid(area + 4096 + SIZE, 4096)
        library.call_on(area + 4096, SIZE, callback, 0)
    """
    path = str(library_path)
    assert child(program, arguments=(path,)).stdout == f"{96 * KIB}\n"
    settings = {"STACKWARDEN": "min-stack=128K,stack-size=2M"}
    assert int(child(program, arguments=(path,), **settings).stdout) >= 2048 * KIB


@pytest.mark.parametrize("size", [0, -1, "lots"])
def test_a_min_stack_that_is_no_size_is_refused(size):
    with pytest.raises(stackwarden.StackRangeError, match="min_stack"):
        sync_on_call(min_stack=size)


RECURSE_IN_THREAD = RECURSE.replace("library.call_on", "library.call_in_thread").replace(
    "256 * 1024", "64 * 1024"
)


def test_unguarded_it_dies_there(child, library_path):
    """The twin of the pool's test: CPython knows the bounds, and they are too small to live in."""
    if COUNTS:
        arguments = (str(library_path), "add", "plain")
        child(RECURSE_IN_THREAD, arguments=arguments, ends=-11)
    else:
        pytest.skip("3.14 and later read the bounds of a thread's own stack")
