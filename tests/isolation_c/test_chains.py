"""Execution state belongs to a chain of stacks: what a coroutine enters by nested calls shares its state.

The outer stack of each chain is isolated, the inner ones are not.
"""

CHAIN = """
    variable = contextvars.ContextVar("variable", default=None)

    def deep(depth, end):
        here = [depth]
        result = deep(depth - 1, end) + 1 if depth else end()
        assert here == [depth]
        return result

    def chain(isolation, links, work):
        inner = [Stack() for _ in range(links)]
        def enter_next(left):
            return enter(inner[left - 1], lambda: deep(2, lambda: enter_next(left - 1))) \\
                if left else work()
        return Fiber(Stack(isolation=isolation), lambda number: deep(3, lambda: enter_next(links)))
"""


def textual(code):
    return code.replace("\n", "\n    ")


def test_a_coroutine_suspends_from_an_inner_stack_and_is_resumed_there(fiber_child, isolation):
    program = f"""
    {textual(CHAIN)}
        here = []

        def work():
            here.append(stackwarden.current_stack().base)
            park()
            here.append(stackwarden.current_stack().base)
            assert here[0] <= fibers.address() < here[0] + 256 * 1024
            return 0

        fiber = chain({isolation!r}, 1, work)
        assert fiber.resume() == DONE and not fiber.done
        native = stackwarden.current_stack().base
        assert fiber.resume() == DONE and fiber.done
        print(fiber.result, here[0] == here[1] != native == stackwarden.current_stack().base)
    """
    assert fiber_child(program) == ["5 True"]


def test_bounds_are_those_of_the_inner_stack_wherever_it_is_resumed(fiber_child, isolation):
    program = f"""
    {textual(CHAIN)}
        import cpython_bounds

        def read():
            return cpython_bounds.read()

        seen = []

        def work():
            seen.append(read())
            park()
            seen.append(read())
            return 0

        fiber = chain({isolation!r}, 2, work)
        before = read()
        fiber.resume()
        between = read()
        fiber.resume()
        print(seen[0] == seen[1] != before == between == read())
    """
    assert fiber_child(program) == ["True"]


def test_the_stacks_of_a_chain_share_context_and_handled_exception(fiber_child, isolation):
    program = f"""
    {textual(CHAIN)}
        def work():
            variable.set("inner")
            try:
                raise KeyError("inner")
            except KeyError as error:
                park()
                assert sys.exc_info()[1] is error
            assert sys.exc_info()[1] is outer_error
            return 0

        outer_error = ValueError("outer")

        def outer(number):
            variable.set("outer")
            try:
                raise outer_error
            except ValueError:
                enter(inner, work)
                assert sys.exc_info()[1] is outer_error
            return variable.get()

        inner = Stack()
        fiber = Fiber(Stack(isolation={isolation!r}), outer)
        fiber.resume()
        assert sys.exc_info()[1] is None and variable.get() is None
        fiber.resume()
        print(fiber.result)
    """
    assert fiber_child(program) == ["inner"]


def test_chains_that_interleave(fiber_child, isolation):
    program = f"""
    {textual(CHAIN)}
        def worker(number):
            rolls = random.Random(number)
            def work():
                for _ in range(10):
                    variable.set(number)
                    roll = rolls.random()
                    assert park() == DONE
                    assert variable.get() == number
                    check = random.Random(number)
                    assert roll in [check.random() for _ in range(10)]
                return number
            return work

        chains = [chain({isolation!r}, n % 4, worker(n)) for n in range(40)]
        order = random.Random(3)
        open_ones = list(chains)
        while open_ones:
            fiber = order.choice(open_ones)
            assert fiber.resume() == DONE
            if fiber.done:
                open_ones.remove(fiber)
        print([fiber.result for fiber in chains] == [n + 3 + 2 * (n % 4) for n in range(40)])
    """
    assert fiber_child(program) == ["True"]


def test_the_outer_stack_of_a_chain_that_was_left_further_in_is_refused(fiber_child, isolation):
    program = f"""
    {textual(CHAIN)}
        outer, inner = Stack(isolation={isolation!r}), Stack()
        fiber = Fiber(outer, lambda number: deep(2, lambda: enter(inner, lambda: deep(2, park))))
        fiber.resume()
        for blocking in (False, True):
            status = there_and_back(outer.base, outer.size, outer.handle, blocking)
            assert status == ISOLATION_REQUIRED, status
        assert fiber.resume() == DONE
        print(fiber.done, fiber.result)
    """
    assert fiber_child(program) == ["True 4"]


def test_the_inner_stack_of_a_suspended_chain_is_lost_when_it_is_unregistered(
    fiber_child, isolation
):
    program = f"""
    {textual(CHAIN)}
        inner = Stack()
        fiber = Fiber(Stack(isolation={isolation!r}), lambda _: enter(inner, lambda: deep(3, park)))
        fiber.resume()
        print(inner.unregister() == LOST)
    """
    assert fiber_child(program) == ["True"]


def test_a_nested_call_and_then_the_same_stack_from_another_chain(fiber_child, isolation):
    """What was over on the inner stack does not tie it to the chain that used it."""
    program = f"""
    {textual(CHAIN)}
        inner = Stack()
        for number in range(5):
            fiber = Fiber(Stack(isolation={isolation!r}), lambda n: enter(inner, lambda: deep(3, park)))
            fiber.resume()
            fiber.resume()
            assert fiber.done and fiber.result == 3
            assert enter(inner, lambda: deep(4, lambda: 0)) == 4
        print(inner.unregister())
    """
    assert fiber_child(program) == ["0"]


def test_a_stack_that_sync_found_is_left_and_gone_back_to(fiber_child):
    program = """
        def work(number):
            assert stackwarden.sync_stack() is not None
            seen.append(enter(Stack(), lambda: stackwarden.current_stack().base))
            seen.append(stackwarden.current_stack().base)

        seen = []
        stack = Stack()
        fiber = Fiber(stack, work, raw=True)
        fiber.resume()
        stackwarden.reset_stack()
        print(fiber.done, seen[0] != stack.base, seen[1] == stack.base)
    """
    assert fiber_child(program) == ["True True True"]
