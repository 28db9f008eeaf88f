"""Fork with a foreign stack current; threads that come and go; threads that end while others look."""

import threading

import pytest

import stackwarden
from forks import IN_CHILD

MIB = 1 << 20


FORK = (
    IN_CHILD
    + """
    import threading
    import stackwarden, capi, cpython_bounds, capi_probe as probe

    probe.import_table()
    MIB = 1 << 20

    stack = stackwarden.register_stack(probe.map_memory(MIB), MIB, name="mine")
    other = stackwarden.register_stack(probe.map_memory(MIB), MIB, name="another thread's")
    native = stackwarden.current_stack()
    asked, answered = threading.Semaphore(0), threading.Semaphore(0)

    def hold():
        stackwarden.notify_stack_switch(other.base, other.size)
        answered.release()
        asked.acquire()

    holder = threading.Thread(target=hold)
    holder.start()
    answered.acquire()
"""
)


def test_child_and_parent_of_a_fork_both_keep_the_stack_that_was_told(child):
    done = child(
        FORK
        + """
    def told_and_forked():
        before = cpython_bounds.read()
        stackwarden.notify_stack_switch(stack.base, stack.size)
        told = cpython_bounds.read()

        def in_the_child():
            assert stackwarden.current_stack() == stack
            assert stack.thread == threading.get_ident()
            stackwarden.reset_stack()
            assert stackwarden.current_stack() == native
            stack.unregister()
            again = stackwarden.register_stack(stack.base, MIB)
            assert capi.attached.find(stack.base).handle == again.handle

        assert in_child(in_the_child) == 0
        assert stackwarden.current_stack() == stack
        assert cpython_bounds.read() == told
        stackwarden.reset_stack()
        assert cpython_bounds.read() == before
        stack.unregister()

    told_and_forked()
    asked.release()
    holder.join()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_a_fork_on_a_foreign_stack_goes_on_there_in_both(child):
    done = child(
        FORK
        + """
    def fork_there():
        assert stackwarden.sync_stack() == stack
        assert in_child(lambda: stackwarden.sync_stack() == stack or 1 / 0) == 0
        return stackwarden.sync_stack() == stack

    assert probe.call_on(stack.base, MIB, fork_there)
    assert stackwarden.sync_stack() == native
    asked.release()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_the_other_threads_are_gone_in_the_child(child):
    done = child(
        FORK
        + """
    def in_the_child():
        assert other.thread is None
        assert [s for s in stackwarden.stacks() if s.bounds_from == "native"] == [native]
        other.unregister()
        stackwarden.notify_stack_switch(other.base, other.size // 2)
        result = []
        thread = threading.Thread(target=lambda: result.append(stackwarden.current_stack()))
        thread.start()
        thread.join()
        assert result[0] != native

    assert in_child(in_the_child) == 0
    assert other.thread == holder.ident
    asked.release()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_forking_while_others_register_leaves_the_lock_free(child):
    done = child(
        FORK
        + """
    KIB, region = 1024, probe.map_memory(64 * MIB)
    ways = [(64, 128 * KIB, 48 * KIB, 96 * KIB, seed, 1 << 62) for seed in range(2)]
    workers = [
        threading.Thread(target=probe.churn, args=(region + i * 32 * MIB, *way))
        for i, way in enumerate(ways)
    ]
    for worker in workers:
        worker.start()

    def in_the_child():
        base = probe.map_memory(MIB)
        for _ in range(100):
            stackwarden.register_stack(base, MIB).unregister()

    for _ in range(50):
        assert in_child(in_the_child) == 0
    probe.stop(True)
    for worker in workers:
        worker.join()
    asked.release()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_a_grandchild_is_sane_too(child):
    done = child(
        FORK
        + """
    stackwarden.notify_stack_switch(stack.base, stack.size)

    def in_the_grandchild():
        assert stackwarden.current_stack() == stack
        stackwarden.reset_stack()

    def in_the_child():
        assert in_child(in_the_grandchild) == 0
        assert stackwarden.current_stack() == stack

    assert in_child(in_the_child) == 0
    stackwarden.reset_stack()
    asked.release()
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_threads_that_ended_give_their_records_back(probe, capi, memory):
    base = memory()
    _, kept = capi.attached.register(base, MIB)
    before = len(stackwarden.stacks())
    highest = 0
    for _ in range(500):
        assert capi.thread.notify(base, MIB) == capi.DONE
        highest = max(highest, capi.attached.register(base, MIB)[1] & 0xFFFFFFFF)
    assert len(stackwarden.stacks()) == before
    assert highest < (kept & 0xFFFFFFFF) + 64


@pytest.mark.usefixtures("unchecked")
def test_many_threads_at_once(memory):
    """Each tells of stacks of its own, and all of them are known at once."""
    count = 200
    base = memory(count * MIB)
    barrier, failures = threading.Barrier(count), []

    def work(number):
        mine = base + number * MIB
        try:
            native = stackwarden.current_stack()
            stack = stackwarden.register_stack(mine, MIB // 2)
            stackwarden.notify_stack_switch(mine, MIB // 2)
            barrier.wait()
            assert stack.thread == threading.get_ident()
            told = stackwarden.notify_stack_switch(mine + MIB // 2, MIB // 2)
            barrier.wait()
            assert stackwarden.current_stack() == told
            stack.unregister()
            stackwarden.reset_stack()
            assert stackwarden.current_stack() == native
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert stackwarden.status()["registered"] == 0


def test_a_destructor_of_thread_data_may_still_tell(child):
    """Thread-specific data of others may be destroyed after ours."""
    done = child("""
        import stackwarden, capi, capi_probe as probe

        probe.import_table()
        base, before = probe.map_memory(1 << 20), len(stackwarden.stacks())
        calls = capi.ending_thread
        assert [calls.reset(), calls.sync(), calls.notify(base, 1 << 20)] == [capi.DONE] * 3
        seen = calls.current()
        assert seen.status == capi.DONE and seen.size > 0
        assert len(stackwarden.stacks()) == before, stackwarden.stacks()
        print("done")
    """)
    assert done.stdout == "done\n"
