"""Thread states come and go on a thread that has none of its own: what fibers keep outlives none of it.

On such a thread the first PyGILState_Ensure makes a thread state, and the last Release destroys it. The
letters of the programs are explained in test_gil_ownership.py.
"""

import pytest


def test_a_fiber_has_its_context_in_a_thread_state_that_was_made_on_it(fiber_child):
    program = """
        variable = contextvars.ContextVar("variable", default="none")
        variable.set("the creator's")
        seen = []
        fiber = Fiber(
            Stack(isolation="frames"), lambda _: seen.append(variable.get()), "ecr", blocking=True
        )
        assert run_threads("0", [[fiber]], None) == [(DONE, "")]
        print(seen)
    """
    assert fiber_child(program) == ['["the creator\'s"]']


@pytest.mark.parametrize(
    ("native", "fiber"),
    [
        pytest.param("0", "ecr", id="made-and-destroyed-on-a-fiber"),
        pytest.param("00", "ecpcr", id="kept-while-the-fiber-is-parked"),
        pytest.param("0ecr0", "ecpcr", id="used-by-the-resumer-destroyed-on-the-fiber"),
        pytest.param("e0c00r", "pecpcr", id="made-and-destroyed-by-the-resumer"),
    ],
)
def test_what_a_thread_state_held_goes_with_it(fiber_child, native, fiber):
    program = f"""
        variable = contextvars.ContextVar("variable")

        def call(number):
            variable.set(number)

        def go(times):
            for _ in range(times):
                fiber = Fiber(stack, call, {fiber!r}, blocking=True)
                run_threads({native!r}, [[fiber]], call)
                assert fiber.done
                stack.renew()

        stack = Stack(isolation="frames")
        go(50)
        gc.collect()
        before = sys.getallocatedblocks()
        go(200)
        gc.collect()
        print((sys.getallocatedblocks() - before) // 20)
    """
    assert fiber_child(program) == ["0"]


def test_calls_counted_in_a_thread_state_that_is_gone_are_not_counted_on(fiber_child):
    """3.11 to 3.13 count calls; each round parks below 20 of them."""
    program = """
        def call(number):
            def deep(depth):
                return max([depth], key=lambda _: deep(depth - 1)) if depth else park()
            deep(20)

        fiber = Fiber(Stack(isolation="frames"), call, "ecr" * 15, blocking=True)
        print(run_threads("0" * 16, [[fiber]], None), fiber.done)
    """
    assert fiber_child(program) == ["[(0, '')] True"]


def test_a_fiber_without_frames_may_change_threads_and_handles_exceptions_there(fiber_child):
    program = """
        def call(number):
            try:
                raise KeyError(number)
            except KeyError as error:
                park()
                seen.append(sys.exc_info()[1] is error)

        def here():
            seen.append(fiber.resume())
            seen.append(sys.exc_info()[1])

        def on_a_thread(function):
            thread = threading.Thread(target=function)
            thread.start()
            thread.join()

        seen = []
        fiber = Fiber(Stack(isolation="frames"), call, "pc", number=7)
        fiber.resume()
        def there():
            here()
            fiber.resume()
        on_a_thread(there)
        print(seen, sys.exc_info()[1], fiber.done)
    """
    assert fiber_child(program) == ["[0, None, True] None True"]


def test_it_leaves_the_thread_that_it_came_from_alone(fiber_child):
    program = """
        def call(number):
            try:
                raise KeyError(number)
            except KeyError:
                park()

        fiber = Fiber(Stack(isolation="frames"), call, "pc", number=7)
        fiber.resume()
        thread = threading.Thread(target=fiber.resume)
        thread.start()
        thread.join()
        print(sys.exc_info()[1])
    """
    assert fiber_child(program) == ["None"]


def test_memory_is_used_anew_on_a_thread_without_a_thread_state(fiber_child):
    """The first fiber is left far down its stack and never resumed."""
    program = """
        fiber = Fiber(Stack(isolation="frames"), None, "xd", blocking=True)
        assert run_threads("0", [[fiber]], None)[0][0] == DONE
        fiber.restart()
        assert run_threads("0", [[fiber]], None)[0][0] == DONE
        print(fiber.notes)
    """
    assert fiber_child(program) == ["0"]


def test_threads_that_end_leave_nothing(fiber_child):
    """Each ends between fibers that were parked and will not be resumed there."""
    program = """
        def call(number):
            park()

        def go(times):
            for _ in range(times):
                fiber = Fiber(Stack(isolation="frames"), None, "p", blocking=True)
                assert run_threads("0", [[fiber]], None) == [(DONE, "")]
                assert run_threads("0", [[fiber]], None) == [(DONE, "")]
                assert fiber.done
        go(50)
        gc.collect()
        before = sys.getallocatedblocks(), len(stackwarden.stacks())
        go(100)
        gc.collect()
        after = sys.getallocatedblocks(), len(stackwarden.stacks())
        print((after[0] - before[0]) // 20, after[1] - before[1])
    """
    assert fiber_child(program) == ["0 0"]
