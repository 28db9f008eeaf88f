"""Another package may `cimport stackwarden`."""

import sys

import pytest

import commands
import extensions
import user_threads

CONSUMER = """
# cython: language_level=3
from libc.stdint cimport uintptr_t
cimport stackwarden

stackwarden.import_stackwarden()


def register_and_switch(base, size):
    cdef stackwarden.stackwarden_stack made, seen
    cdef uintptr_t address = base
    cdef size_t length = size
    cdef int statuses[6]
    cdef stackwarden.stackwarden_handle current
    with nogil:
        statuses[0] = stackwarden.register_stack(<void *>address, length, b"fiber", NULL, 0, &made)
        statuses[1] = stackwarden.switch_to(made.handle)
        statuses[2] = stackwarden.current_stack(&seen)
        current = stackwarden.current_handle()
        statuses[3] = stackwarden.sync_stack()
        statuses[4] = stackwarden.reset_stack()
        statuses[5] = stackwarden.unregister_stack(made.handle)
    return list(statuses), seen.base, seen.size, current == seen.handle == made.handle


def refuse():
    cdef stackwarden.stackwarden_status status
    with nogil:
        status = stackwarden.notify_stack_switch(NULL, 0)
    return status == stackwarden.STACKWARDEN_BAD_RANGE, stackwarden.status_text(status).decode()


calls = []

cdef void note(const stackwarden.stackwarden_stack *left, const stackwarden.stackwarden_stack *entered,
               void *arg) noexcept nogil:
    with gil:
        calls.append((left.base, entered.base, <object>arg))


def with_callback(base, size, arg):
    cdef uintptr_t address = base
    cdef size_t length = size
    stackwarden.register_switch_callback(note, <void *>arg, False)
    stackwarden.notify_stack_switch(<void *>address, length)
    stackwarden.reset_stack()
    stackwarden.unregister_switch_callback(note, <void *>arg)
    return calls
"""


@pytest.fixture(scope="module")
def consumer(tmp_path_factory):
    """A module of a package of its own, compiled with the Cython of this environment."""
    folder = tmp_path_factory.mktemp("consumer")
    (folder / "consumer.pyx").write_text(CONSUMER)
    cython = [sys.executable, "-m", "cython", "-3", "--warning-errors"]
    commands.output(*cython, "consumer.pyx", cwd=folder)
    args = ["-Wno-error", "-w"]  # what Cython generates is not ours to warn of
    return extensions.load(extensions.build([folder / "consumer.c"], "consumer", args=args))


def test_the_functions_work_without_the_gil(probe, consumer, memory):
    base = memory()
    statuses, seen_base, seen_size, same = probe.call_on(
        base, 1 << 20, lambda: consumer.register_and_switch(base, 1 << 20)
    )
    assert statuses == [0] * 6
    assert same
    assert (seen_base, seen_size) == (base, 1 << 20)


def test_statuses_and_their_texts_are_there(consumer):
    refused, text = consumer.refuse()
    assert refused
    assert text.startswith("refused: ")


def test_a_cython_function_may_be_a_switch_callback(consumer, memory):
    (call,) = consumer.with_callback(memory(), 1 << 20, "the argument")
    assert call[2] == "the argument"


USER_THREADS = """
import sys, threading
import my_system
from stackwarden.testing.workloads import WORKLOADS

def work():
    try:
        raise KeyError
    except KeyError as error:
        for _ in range(5):
            my_system.pause()
        outcomes.append((sys.exc_info()[1] is error, WORKLOADS["add"].run()))

my_system.start(2)
outcomes = []
threads = [threading.Thread(target=my_system.run, args=(work, 1 << 18)) for _ in range(50)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(outcomes), set(outcomes))
try:
    my_system.run(work, 1 << 14)
except RuntimeError as error:
    print(error)
"""


def test_user_threads_can_be_written_in_cython(child, tmp_path):
    folder = user_threads.build_example(tmp_path, "cython").parent
    assert child(USER_THREADS, PYTHONPATH=str(folder)).stdout.splitlines() == [
        "50 {(True, 'RecursionError')}",
        "refused: the stack is smaller than this interpreter can protect",
    ]
