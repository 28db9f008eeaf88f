"""sys.setrecursionlimit while a foreign stack is current, and while it is left; 3.11's wrapper of it."""

import sys

import pytest

IS_311 = sys.version_info < (3, 12)

START = """
    import sys
    import stackwarden, capi, cpython_bounds, capi_probe as probe

    probe.import_table()
    KIB, MIB = 1024, 1 << 20
    stack = stackwarden.register_stack(probe.map_memory(MIB), MIB)
    small = stackwarden.register_stack(probe.map_memory(MIB), MIB // 2)

    def tell(stack):
        stackwarden.notify_stack_switch(stack.base, stack.size)

    def remaining():
        return cpython_bounds.read().get("remaining")

    def effective_bounds():
        bounds = cpython_bounds.read()
        bounds.pop("limit", None)
        return bounds

    def python_depth():
        def deeper(n):
            try:
                return deeper(n + 1)
            except RecursionError:
                return n
        return deeper(0)

    def deeper(levels, function):
        return next(map(deeper, [levels - 1], [function])) if levels else function()
"""


@pytest.mark.parametrize("limit", [200, 700, 5000])
def test_a_limit_set_on_a_foreign_stack_leaves_its_budget_effective(child, limit):
    """No higher budget than the stack holds; a lower limit counts on 3.11, where it is the same counter."""
    done = child(
        START
        + f"""
    tell(small)
    before = effective_bounds()
    sys.setrecursionlimit({limit})
    after = effective_bounds()
    if "remaining" not in before:
        assert after == before
    elif sys.version_info >= (3, 12) or {limit} > before["remaining"]:
        assert abs(after["remaining"] - before["remaining"]) <= 2, (before, after)
    else:
        assert after["remaining"] <= {limit}
    stackwarden.reset_stack()
    assert sys.getrecursionlimit() == {limit}
    assert {limit} - 60 < python_depth() < {limit}
    tell(small)
    if sys.version_info < (3, 12):
        assert remaining() <= {limit}
        assert abs(remaining() - min(before["remaining"], {limit})) <= 4
    else:
        assert effective_bounds() == before
    stackwarden.reset_stack()
    print("done")
    """
    )
    assert done.stdout == "done\n"


@pytest.mark.parametrize("limit", [400, 5000])
def test_a_limit_set_while_a_stack_is_left_counts_when_it_is_entered_again(child, limit):
    done = child(
        START
        + f"""
    tell(small)
    before = effective_bounds()
    stackwarden.reset_stack()
    sys.setrecursionlimit({limit})
    assert {limit} - 60 < python_depth() < {limit}
    tell(small)
    after = effective_bounds()
    if sys.version_info < (3, 12) and {limit} < 1000:
        assert abs(after["remaining"] - min(before["remaining"], {limit})) <= 4
    else:
        assert after == before
    stackwarden.reset_stack()
    assert {limit} - 60 < python_depth() < {limit}
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_depth_used_survives_a_limit_that_is_set_while_the_stack_is_left(child):
    done = child(
        START
        + """
    def leave_and_come_back():
        before = effective_bounds()
        stackwarden.reset_stack()
        sys.setrecursionlimit(5000)
        tell(stack)
        return before, effective_bounds()

    tell(stack)
    before, after = deeper(40, leave_and_come_back)
    if "remaining" in before:
        assert abs(before["remaining"] - after["remaining"]) <= 2, (before, after)
    else:
        assert before == after
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_the_native_stack_keeps_its_depth_when_the_limit_is_set_on_a_foreign_one(child):
    done = child(
        START
        + """
    def there_and_back():
        before = effective_bounds()
        tell(stack)
        sys.setrecursionlimit(2000)
        stackwarden.reset_stack()
        return before, effective_bounds()

    before, after = deeper(40, there_and_back)
    if sys.version_info < (3, 12):
        assert after["remaining"] - before["remaining"] == 1000, (before, after)
    else:
        assert before == after
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_the_limit_protects_as_before_once_the_stack_was_left(child):
    done = child(
        START
        + """
    depth = python_depth()
    for _ in range(20):
        tell(stack)
        stackwarden.reset_stack()
    assert abs(python_depth() - depth) <= 2
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_a_limit_set_from_c_is_found_out_at_the_next_switch(child):
    done = child(
        START
        + """
    tell(small)
    probe.set_recursion_limit(3000)
    stackwarden.reset_stack()
    assert sys.getrecursionlimit() == 3000
    assert 2900 < python_depth() < 3000
    tell(small)
    assert remaining() is None or remaining() < 300
    stackwarden.reset_stack()
    assert 2900 < python_depth() < 3000
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_refusing_a_limit_that_is_too_low_changes_nothing(child):
    """CPython refuses a limit below the present depth."""
    done = child(
        START
        + """
    def refused():
        before = cpython_bounds.read()
        for limit, error in [(0, ValueError), (5, RecursionError), ("x", TypeError)]:
            try:
                sys.setrecursionlimit(limit)
            except error:
                continue
            raise AssertionError(limit)
        assert cpython_bounds.read() == before
        assert sys.getrecursionlimit() == 1000

    deeper(20, refused)
    tell(stack)
    deeper(20, refused)
    print("done")
    """
    )
    assert done.stdout == "done\n"


if IS_311:

    def test_setrecursionlimit_is_wrapped_with_the_first_foreign_stack_and_not_before(child):
        done = child("""
            import sys
            import stackwarden, capi_probe as probe

            original = sys.setrecursionlimit
            stackwarden.current_stack()
            stackwarden.reset_stack()
            stackwarden.sync_stack()
            assert sys.setrecursionlimit is original
            stackwarden.register_stack(probe.map_memory(1 << 20), 1 << 20)
            assert sys.setrecursionlimit is not original
            assert sys.setrecursionlimit.__module__ == "stackwarden"
            wrapper = sys.setrecursionlimit
            stackwarden.register_stack(probe.map_memory(1 << 20), 1 << 20)
            assert sys.setrecursionlimit is wrapper
            print("done")
        """)
        assert done.stdout == "done\n"

    def test_setrecursionlimit_is_wrapped_in_time_when_another_thread_makes_the_first_stack(child):
        done = child("""
            import sys
            import stackwarden, cpython_bounds, capi_probe as probe

            base = probe.map_memory(1 << 20)

            def work():
                stackwarden.notify_stack_switch(base, 512 * 1024)
                before = cpython_bounds.read()["remaining"]
                sys.setrecursionlimit(5000)
                return before, cpython_bounds.read()["remaining"]

            before, after = probe.call_in_thread(work)
            assert abs(before - after) <= 4, (before, after)
            print("done")
        """)
        assert done.stdout == "done\n"

    def test_budgets_of_other_threads_stay_effective_when_the_limit_is_set(child):
        done = child(
            START
            + """
    import threading

    asked, answered, seen = threading.Semaphore(0), threading.Semaphore(0), []

    def work():
        tell(small)
        for _ in range(2):
            seen.append(remaining())
            answered.release()
            asked.acquire()
        stackwarden.reset_stack()
        seen.append(remaining())

    thread = threading.Thread(target=work)
    thread.start()
    answered.acquire()
    sys.setrecursionlimit(5000)
    asked.release()
    answered.acquire()
    asked.release()
    thread.join()
    assert abs(seen[0] - seen[1]) <= 4, seen
    assert 4900 < seen[2] < 5000, seen
    print("done")
    """
        )
        assert done.stdout == "done\n"

else:

    def test_setrecursionlimit_is_never_wrapped(child):
        done = child(
            START
            + """
    tell(stack)
    assert type(sys.setrecursionlimit) is type(len)
    print("done")
    """
        )
        assert done.stdout == "done\n"
