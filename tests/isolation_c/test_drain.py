"""drain() frees what CPython put off freeing because a stack was nearly used up.

When that happens differs: 3.14 and later look at the room that is left on the stack, 3.13 at the calls
that are left, 3.11 and 3.12 put off what is nested 50 deep in what is being freed. Here the stack is
left before any of them frees it by itself.
"""

import pytest

ITEMS = 100

PUT_OFF = """
    class Item:
        def __del__(self):
            freed.append(self)

    class Parker:
        def __del__(self):
            park()

    def put_off_near_the_end_of_the_stack(stack):
        drop_low([[Item()] for _ in range(100)], stack.base, 3 * stackwarden.status()["margin"])

    def put_off_with_few_calls_left(stack):
        drop_deep([[Item()] for _ in range(100)], 20)

    def put_off_in_a_long_chain(stack):
        below = [Item() for _ in range(100)]
        for _ in range(49):
            below = [below]
        chain = [Parker(), below]
        for _ in range(3):
            chain = [chain]
        del below
        chain.clear()

    if stackwarden.status()["mechanism"] == "pointer":
        put_off = put_off_near_the_end_of_the_stack
    elif sys.version_info >= (3, 13):
        put_off = put_off_with_few_calls_left
    else:
        put_off = put_off_in_a_long_chain

    freed = []

    def parked(isolation):
        stack = Stack(512 * 1024, isolation)
        fiber = Fiber(stack, lambda number: put_off(stack))
        assert fiber.resume() == DONE and not fiber.done
        return fiber
"""


def textual(code):
    return code.replace("\n", "\n    ")


def test_what_was_put_off_stays_with_the_thread_state_and_drain_frees_it(fiber_child):
    program = f"""
    {textual(PUT_OFF)}
        fiber = parked("frames")
        assert not freed
        assert drain() == DONE
        assert len(freed) == {ITEMS}, len(freed)
        assert drain() == DONE
        fiber.resume()
        print(fiber.done, len(freed), stackwarden.status()["drains"])
    """
    assert fiber_child(program) == [f"True {ITEMS} 1"]


def test_from_python_and_on_another_fiber(fiber_child):
    program = f"""
    {textual(PUT_OFF)}
        fiber = parked("frames")
        other = Fiber(Stack(512 * 1024, "frames"), lambda number: stackwarden.drain())
        assert other.resume() == DONE
        print(len(freed))
        fiber.resume()
    """
    assert fiber_child(program) == [str(ITEMS)]


def test_what_a_stacks_own_thread_state_put_off_is_freed_there(fiber_child, isolation):
    """No other stack can free it while that one is suspended; it is freed when that one goes on."""
    program = f"""
    {textual(PUT_OFF)}
        fiber = parked({isolation!r})
        assert drain() == DONE
        print(len(freed))
        fiber.resume()
        print(fiber.done, len(freed))
    """
    before = ITEMS if isolation == "frames" else 0
    assert fiber_child(program) == [str(before), f"True {ITEMS}"]


def test_detached_it_is_refused(fiber_child):
    assert fiber_child("print(drain(True) == DETACHED)") == ["True"]


@pytest.mark.parametrize("levels", [1, 30, 48, 49, 50, 51, 52, 60, 200])
def test_it_may_be_called_while_something_is_being_freed(fiber_child, levels):
    program = f"""
        class Drainer:
            def __del__(self):
                for _ in range(3):
                    stackwarden.drain()
                seen.append(self)

        seen = []
        for extra in ([], [[]], [Drainer()]):
            chain = [Drainer(), *extra]
            for _ in range({levels}):
                chain = [chain]
            del chain
        extra.clear()
        gc.collect()
        print(len(seen))
    """
    assert fiber_child(program) == ["4"]


def test_what_goes_with_a_stack_of_its_own_is_freed_wherever_that_stack_lies(
    fiber_child, isolation
):
    """The context of a finished fiber, with the fiber's stack above that of the thread."""
    program = f"""
        variable = contextvars.ContextVar("variable")
        freed = []

        class Item:
            def __del__(self):
                freed.append(1)

        def run_some():
            assert stack.base > fibers.address()
            for _ in range(50):
                fiber = Fiber(stack, lambda number: variable.set([[Item()]]) and None)
                fiber.resume()
                stack.renew()

        stack = Stack(isolation={isolation!r})
        thread = threading.Thread(target=run_some)
        thread.start()
        thread.join()
        print(len(freed))
    """
    assert fiber_child(program) == ["50"]


def test_a_stack_with_room_frees_at_once(fiber_child, isolation):
    program = f"""
    {textual(PUT_OFF)}
        def drop(number):
            items = [Item() for _ in range(100)]
            del items
            return len(freed)
        fiber = Fiber(Stack(512 * 1024, {isolation!r}), drop)
        fiber.resume()
        print(fiber.result)
    """
    assert fiber_child(program) == ["100"]
