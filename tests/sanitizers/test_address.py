"""AddressSanitizer and UndefinedBehaviorSanitizer are there and see what the core does."""

import importlib.util
from pathlib import Path

import pytest

# Calls stackwarden_current_stack so that it stores a stackwarden_stack, 64 bytes, at `place`.
STORE_A_STACK = """
import ctypes, stackwarden._core

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
pointer = ctypes.pythonapi.PyCapsule_GetPointer
pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
table = pointer(stackwarden._core.table, b"stackwarden._core.table")
slots = ctypes.cast(table + 8, ctypes.POINTER(ctypes.c_void_p))
current_stack = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(slots[6])
print("calls", flush=True)
current_stack({place})
print("came back", flush=True)
"""

# Everything that the core allocates, and gives back.
USE_EVERYTHING = """
import ctypes, mmap, threading
import stackwarden
from stackwarden.adapters.ucontext import Coroutine

SIZE = 1 << 20
memory = mmap.mmap(-1, 4 * SIZE)
base = ctypes.addressof(ctypes.c_char.from_buffer(memory))

def told(old, new):
    pass

def work():
    stackwarden.register_switch_callback(told)
    for number in range(40):
        stack = stackwarden.register_stack(base, SIZE, name=f"stack {number}", system="tests")
        stackwarden.notify_stack_switch(stack.base, stack.size)
        stackwarden.reset_stack()
        if number % 2:
            stack.unregister()  # else it gives way to the next one
        stackwarden.notify_stack_switch(base + SIZE, SIZE)
        Coroutine(stackwarden.sync_stack).resume()
        stackwarden.reset_stack()
    stackwarden.unregister_switch_callback(told)

for _ in range(3):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
work()
print(stackwarden.status()["superseded"], "gave way")
"""
LOSE_SEVEN_BYTES = """
import ctypes
ctypes.CDLL(None).malloc(7)
"""


def test_the_runtimes_are_mapped_into_this_very_process():
    import stackwarden._core  # noqa: F401

    mapped = Path("/proc/self/maps").read_text()
    assert "libasan.so" in mapped
    assert "libubsan.so" in mapped


@pytest.mark.parametrize(
    "module", ["stackwarden._core", "stackwarden.adapters.ucontext._coroutine"]
)
def test_a_compiled_module_asks_the_sanitizers_and_does_not_go_on_after_undefined_behaviour(module):
    code = Path(importlib.util.find_spec(module).origin).read_bytes()
    assert b"__asan_report_load8" in code
    assert b"__ubsan_handle_type_mismatch_v1_abort" in code


def test_an_overflow_in_the_core_is_reported_and_ends_the_process(watched, reported):
    done = watched(STORE_A_STACK.format(place="libc.malloc(48)"), ends=reported)
    assert done.stdout == "calls\n"
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "sw_current_stack" in done.stderr


def test_a_misaligned_store_of_the_core_is_reported_and_ends_the_process(watched, reported):
    done = watched(STORE_A_STACK.format(place="libc.malloc(80) + 1"), ends=reported)
    assert done.stdout == "calls\n"
    assert "runtime error: member access within misaligned address" in done.stderr


def test_a_block_that_is_lost_is_reported(watched, reported):
    done = watched(LOSE_SEVEN_BYTES, detect_leaks="1", ends=reported)
    assert "LeakSanitizer: detected memory leaks" in done.stderr
    assert "7 byte(s) leaked in 1 allocation(s)" in done.stderr


def test_the_core_loses_no_block(watched):
    done = watched(USE_EVERYTHING, detect_leaks="1")
    assert done.stdout == "80 gave way\n"
