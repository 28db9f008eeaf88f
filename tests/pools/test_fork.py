"""Executors in the child of a fork, and in signal handlers: nothing is found locked."""

from forks import IN_CHILD

PRELUDE = (
    IN_CHILD
    + """
    import concurrent.futures, sys, threading, time
    import stackwarden
    from stackwarden import wrap_thread_pool
"""
)


def test_a_fork_while_others_use_the_executor_leaves_it_usable_in_the_child(child):
    done = child(
        PRELUDE
        + """
    executor = wrap_thread_pool(lambda task: task(), name="at once")

    def use():
        while not over:
            executor.submit(int).result()

    over = False
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()

    def in_the_child():
        assert executor.submit(str, 1).result() == "1"
        executor.shutdown(wait=False)
        try:
            executor.submit(int)
        except RuntimeError:
            return
        raise AssertionError

    for _ in range(60):
        assert in_child(in_the_child) == 0
    over = True
    for thread in threads:
        thread.join()
    executor.shutdown()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_a_fork_while_others_wait_leaves_nobody_waiting_in_the_child(child):
    done = child(
        PRELUDE
        + """
    from stackwarden._latch import Latch

    latch, waiting = Latch(), []

    def wait():
        waiting.append(1)
        latch.wait()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(waiting) < 3:
        time.sleep(0)

    def in_the_child():
        assert not latch.wait(0.01)
        latch.open()
        assert latch.wait()

    assert in_child(in_the_child) == 0
    latch.open()
    for thread in threads:
        thread.join()
    assert latch.wait()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_a_handler_may_use_the_executor_that_it_interrupts(child):
    done = child(
        PRELUDE
        + """
    executor, handled = wrap_thread_pool(lambda task: task(), name="at once"), []
    signal.signal(signal.SIGALRM, lambda *_: handled.append(executor.submit(int).result()))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0003)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        executor.submit(int).result()
    signal.setitimer(signal.ITIMER_REAL, 0)
    executor.shutdown()
    assert len(handled) > 10, len(handled)
    print("done")
    """
    )
    assert done.stdout == "done\n"
