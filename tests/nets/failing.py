"""In a child: `failing.py WAY`: in each operation each allocation fails once, cold and warm.

For each of them a process is forked. There the operation must be refused, or done; a refusal must leave all as it
was; and the operation must work then. WAY: "ours", those that the package's own modules make (failing.c is
preloaded); "pythons", those of Python's (_testcapi.set_nomemory). With "planted" after it: a wrong operation.
"""

import ctypes
import errno
import gc
import os
import signal
import sys
import threading
import warnings

import operations
import systems  # noqa: F401

import stackwarden

MOST = 400  # allocations in one operation
LAST = 6  # so often in turn it was done: there were no more allocations
MOST_WRONG = 3  # of one operation are told
SECONDS = 20

warnings.simplefilter("ignore")
threading.stack_size(256 << 10)
threading.excepthook = sys.unraisablehook = lambda _: None


class Ours:
    cold = True
    skipped = ()

    def __init__(self):
        self._library = ctypes.CDLL(None)
        self._library.failing_end.restype = ctypes.c_long

    def begin(self, number):
        self._library.failing_begin(ctypes.c_long(number))

    def end(self):
        self._library.failing_end()


class Pythons:
    """Cold, imports would fail, and what comes of it is CPython's."""

    cold = False
    # CPython waits for ever for a thread that had no memory to begin. Before 3.14 its own code in Python fails in
    # other ways than MemoryError: os.environ.get() with SystemError, concurrent.futures with a lock that is held,
    # importlib.metadata, which looks for adapters, with SIGSEGV.
    skipped = ("thread",) + (sys.version_info < (3, 14)) * (
        *("status", "sync_on_call", "pool"),
        *("install greenlet", "install greenlet, with suspended ones"),
    )

    def __init__(self):
        import _testcapi

        self._begin, self.end = _testcapi.set_nomemory, _testcapi.remove_mem_hooks

    def begin(self, number):
        self._begin(number, number + 1)


def attempt(way, number, operation, made):
    """The result, and whether it was refused."""
    act = operation.act
    way.begin(number)
    try:
        result = act(made)
    except (MemoryError, OSError, stackwarden.StackwardenError) as error:
        way.end()
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise
        return None, True
    finally:
        way.end()
    return result, False


def difference(before, after):
    """What is not the same, in two dictionaries of dictionaries."""
    if not isinstance(before, dict):
        return before, after
    return {key: difference(before[key], after[key]) for key in before if before[key] != after[key]}


def check(way, number, operation):
    """0: refused; 1: nothing failed, or it was done all the same."""
    gc.freeze()  # what was there before is not looked at again
    before_all = operations.state()
    made = operation.begin()
    gc.collect()
    before, size = operations.state(), operations.size_of_process()
    result, refused = attempt(way, number, operation, made)
    if refused:
        gc.collect()
        wrong = difference(before, operations.state())
        assert not wrong, f"a refusal changed {wrong}"
        grown = operations.size_of_process() - size
        assert grown < operations.LARGE // 2, f"a refusal left {grown} bytes mapped"
        result = operation.act(made)
    operation.undo(made, result)
    for _ in range(2):
        made = operation.begin()
        operation.undo(made, operation.act(made))
    made = result = None
    gc.collect()
    wrong = difference(before_all, operations.state())
    wrong.pop(
        "stacks", None
    )  # a transient record is kept for the next switch; and warm, another pooled stack
    wrong.pop("status", None)
    assert not wrong, f"afterwards there is {wrong}"
    return 0 if refused else 1


def in_a_process(way, number, operation):
    pid = os.fork()
    if pid == 0:
        signal.alarm(SECONDS)
        status = 2
        try:
            status = check(way, number, operation)
        except BaseException as error:
            print(f"  {error!r}", flush=True)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def check_all(way, name, operation, told):
    """How many of its allocations were refused, and how many ended wrongly."""
    refused = wrong = done = 0
    for number in range(1, MOST):
        ends = in_a_process(way, number, operation)
        refused += ends == 0
        done = done + 1 if ends == 1 else 0
        if ends not in (0, 1):
            wrong += 1
            print(f"{name}, {told}, allocation {number}: ends with {ends}", flush=True)
        if done == LAST or wrong == MOST_WRONG:
            break
    return refused, wrong


def once(operation):
    made = operation.begin()
    operation.undo(made, operation.act(made))


def two_stacks(base):
    """Wrong: when the second fails the first is left."""
    half = operations.MIB // 2
    return [stackwarden.register_stack(base + at, half, name="n" * 600) for at in (0, half)]


def unregister_both(_, stacks):
    for stack in stacks:
        stack.unregister()


def main(kind, planted=None):
    way = Ours() if kind == "ours" else Pythons()
    tried = operations.OPERATIONS
    if planted:
        tried = {planted: operations.Operation(operations.memory, two_stacks, unregister_both)}
    refused = wrong = 0
    for told in ("cold", "warm") if way.cold else ("warm",):
        for name, operation in tried.items():
            if name not in way.skipped:
                if told == "warm":
                    once(operation)
                    gc.collect()
                counts = check_all(way, name, operation, told)
                refused, wrong = refused + counts[0], wrong + counts[1]
    print(f"{len(tried)} operations, {refused} refusals, {wrong} wrong")


main(*sys.argv[1:])
