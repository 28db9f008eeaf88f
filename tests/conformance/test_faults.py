"""What is wrong with an adapter is found, on the thread that runs its stacks, and said."""

import signal
import sys

import pytest

import user_threads

FAULTS = {
    "nobody-tells": (
        """
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)

    def wrong(function, stack_size):
        return pool.submit(function).result()
    """,
        "bounds, stack of 262144 bytes: nobody told of the switch from <Stack",
    ),
    "the-worker-is-left-with-wrong-bounds": (
        """
    import ctypes, mmap
    from concurrent.futures import ThreadPoolExecutor
    from stackwarden.adapters.ucontext import Coroutine
    from stackwarden.testing import checks

    checks._SECONDS_TO_LEAVE = 0.1
    pool, memory = ThreadPoolExecutor(1), mmap.mmap(-1, 1 << 20)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def wrong(function, stack_size):
        return pool.submit(on_the_worker, function, stack_size).result()

    def on_the_worker(function, stack_size):
        try:
            return Coroutine(function, stack_size=stack_size).resume()
        finally:
            stackwarden.notify_stack_switch(base, 1 << 20)
    """,
        "result, stack of 262144 bytes: its thread never came back from [<Stack",
    ),
    "records-pile-up": (
        """
    import ctypes, mmap

    memory = mmap.mmap(-1, 1 << 30)
    bases = iter(range(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1 << 62, 1 << 17))

    def wrong(function, stack_size):
        stackwarden.register_stack(next(bases), 1 << 17)
        return run(function, stack_size)
    """,
        "records, stack of 262144 bytes: [500, 500, 500, 500, 500] more, each after 500 calls",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_said(unchecked, on_workers, protected, fault):
    program, says = FAULTS[fault]
    program += """
    try:
        check_user_threads(wrong, interleave)
    except AssertionError as error:
        print(error)
    """
    (said,), _ = on_workers(1, program, protected)
    assert said.startswith(says)


HANGS = {
    "a-wait-that-keeps-its-operating-system-thread": """
    def wrong(function, stack_size):
        if threading.current_thread() is threading.main_thread():
            return run(function, stack_size)
        waits_for = threading.Thread(target=run, args=(function, stack_size))
        waits_for.start()
        waits_for.join()
    """,
    "a-wait-that-keeps-the-gil": """
    import ctypes

    def wrong(function, stack_size):
        if threading.current_thread() is threading.main_thread():
            return run(function, stack_size)
        ctypes.PyDLL(None).pause()
    """,
}


@pytest.mark.parametrize("hang", HANGS)
def test_a_check_that_hangs_is_named_and_ends_the_process(on_workers, protected, hang):
    program = HANGS[hang] + "\n    check_user_threads(wrong, interleave, seconds=4)"
    _, said = on_workers(1, program, protected, ends=-signal.SIGABRT)
    assert said.startswith("stackwarden.testing: nesting, 262144 bytes: not over after 4 seconds.")
    assert "in check_nesting" in said


@pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="no user thread is pinned to its first thread"
)
def test_a_yield_that_cannot_change_the_operating_system_thread_is_found(on_workers, tmp_path):
    """As that of a system which returns at once where nothing else is ready to run."""

    def edit(code):
        code = code.replace("resume(place, fiber_yield)", "resume(place, return_at_once)")
        return code.replace(
            "typedef struct", "static void return_at_once(void) {}\n\ntypedef struct", 1
        )

    folder = user_threads.build_example(tmp_path, edit=edit).parent
    program = "check_user_threads(run, interleave, seconds=4)"
    _, said = on_workers(2, program, folder, ends=-signal.SIGABRT)
    assert said.startswith("stackwarden.testing: warm-up, 262144 bytes: not over after 4 seconds.")


def test_check_adapter_has_a_time_limit_too(on_workers, protected):
    program = "check_adapter(lambda function, stack_size: time.sleep(1000), seconds=1)"
    _, said = on_workers(1, program, protected, ends=-signal.SIGABRT)
    assert said.startswith("stackwarden.testing: bounds, 262144 bytes: not over after 1 seconds.")
