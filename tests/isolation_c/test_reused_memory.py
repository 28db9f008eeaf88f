"""Stacks that go: unregistered, lost, and memory that is used anew without anyone telling."""

import stackwarden

DEEP = """
    def deep(depth):
        return deep(depth - 1) + 1 if depth else park()
"""


def textual(code):
    return code.replace("\n", "\n    ")


def test_memory_used_anew_starts_from_nothing(fiber_child, isolation):
    """The one before was left in the middle of Python, in an except block, in a context of its own."""
    program = f"""
    {textual(DEEP)}
        variable = contextvars.ContextVar("variable")
        variable.set("resumer")

        def work(number):
            if not left:
                left.append(number)
                variable.set("gone")
                try:
                    raise KeyError("gone")
                except KeyError:
                    return deep(20)
            seen.append((sys._getframe().f_back, sys.exc_info()[1], variable.get()))
            return deep(3)

        stack = Stack(isolation={isolation!r})
        fiber = Fiber(stack, work)
        for round in range(10):
            left, seen = [], []
            fiber.resume()
            fiber.restart()
            fiber.resume()
            assert seen == [(None, None, "resumer")], seen
            assert stackwarden.status()["dropped_states"] == round + 1
            fiber.resume()
            assert fiber.done and fiber.result == 3 and stack.renew() == DONE
            fiber.restart()
        print(variable.get(), sys.exc_info()[1], stackwarden.status()["leaked_stacks"])
    """
    assert fiber_child(program) == ["resumer None 0"]


def test_also_where_the_former_one_was_left_by_its_outermost_function(fiber_child, isolation):
    """As near to the top of the stack as Python code can be left."""
    program = f"""
        def work(number):
            frames.append(sys._getframe().f_back)
            park()

        frames = []
        fiber = Fiber(Stack(isolation={isolation!r}), work)
        for _ in range(3):
            fiber.resume()
            fiber.restart()
        print(frames, stackwarden.status()["dropped_states"])
    """
    assert fiber_child(program) == ["[None, None, None] 2"]


def test_a_fiber_that_is_resumed_is_not_taken_for_a_new_one(fiber_child, isolation):
    program = f"""
    {textual(DEEP)}
        many = [Fiber(Stack(isolation={isolation!r}), deep, number=n) for n in range(60)]
        for _ in range(2):
            for fiber in many:
                fiber.resume()
        print(all(f.result == n for n, f in enumerate(many)), stackwarden.status()["dropped_states"])
    """
    assert fiber_child(program) == ["True 0"]


def park_in(fibers, depth):
    return park_in(fibers, depth - 1) + 1 if depth else fibers.park()


def test_unregistering_a_suspended_stack_loses_it(fibers, isolation):
    """Its frames may still be looked at: its memory stays."""
    leaked = stackwarden.status()["leaked_stacks"]
    stack = fibers.Stack(isolation=isolation)
    fiber = fibers.Fiber(stack, lambda _: park_in(fibers, 5))
    fiber.resume()
    (record,) = [s for s in stackwarden.stacks() if s.handle == stack.handle]
    frame = record.frame
    assert stack.unregister() == fibers.LOST
    assert stackwarden.status()["leaked_stacks"] == leaked + 1
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    assert names == ["park_in"] * 6 + ["<lambda>"]
    assert stack.unregister() == fibers.STALE_HANDLE


def test_unregistering_a_stack_that_was_never_entered(fibers, isolation):
    leaked = stackwarden.status()["leaked_stacks"]
    assert fibers.Stack(isolation=isolation).unregister() == fibers.DONE
    assert stackwarden.status()["leaked_stacks"] == leaked


def test_unregistering_a_finished_stack_and_using_its_memory_anew(fibers, isolation):
    before = stackwarden.status()
    stack = fibers.Stack(isolation=isolation)
    fiber = fibers.Fiber(stack, lambda number: park_in(fibers, number), number=4)
    for _ in range(20):
        fiber.resume()
        fiber.resume()
        assert fiber.result == 4
        former = stack.handle
        assert stack.unregister() == fibers.DONE
        assert stack.register() == fibers.DONE
        assert stack.renew() == fibers.DONE
        assert stack.handle != former
        fiber = fibers.Fiber(stack, lambda number: park_in(fibers, number), number=4)
    after = stackwarden.status()
    for word in ("leaked_stacks", "dropped_states"):
        assert after[word] == before[word]


def test_a_stack_cannot_be_unregistered_from_itself(fibers, isolation):
    stack = fibers.Stack(isolation=isolation)
    statuses = []
    fibers.Fiber(stack, lambda _: statuses.append(stack.unregister())).resume()
    assert statuses == [fibers.IN_USE]
    assert stack.unregister() == fibers.DONE


def test_a_stack_that_was_registered_in_c_starts_with_a_copy_of_the_context(fiber_child, isolation):
    """Without renew_stack: on first use, and again when its first work is over."""
    program = f"""
        variable = contextvars.ContextVar("variable", default="none")
        variable.set("creator")
        stack = Stack(isolation={isolation!r}, renewed=False)
        fiber = Fiber(stack, lambda number: (variable.get(), variable.set("gone"))[0])
        for _ in range(3):
            fiber.resume()
            print(fiber.result)
            fiber.restart()
    """
    assert fiber_child(program) == ["creator"] * 3


def test_a_stack_may_be_asked_to_start_with_an_empty_context(fiber_child, isolation):
    program = f"""
        variable = contextvars.ContextVar("variable", default="none")
        variable.set("creator")
        stack = Stack(isolation={isolation!r}, flags=EMPTY_CONTEXT)
        fiber = Fiber(stack, lambda number: variable.get())
        for _ in range(3):
            fiber.resume()
            assert fiber.result == "none"
            fiber.restart()
            assert stack.renew() == DONE
        given = contextvars.Context()
        given.run(variable.set, "given")
        assert stack.renew(given) == DONE
        fiber.resume()
        print(fiber.result)
    """
    assert fiber_child(program) == ["given"]


def test_a_handle_that_went_stale_stands_for_the_bounds(fiber_child):
    program = """
        stack = Stack()
        fiber = Fiber(stack, lambda number: stackwarden.current_stack().handle == former)
        former = stack.handle
        stack.unregister()
        assert fiber.resume() == DONE
        print(fiber.done, fiber.result)
    """
    assert fiber_child(program) == ["True False"]
