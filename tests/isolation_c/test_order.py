"""Stacks without isolation share execution state: resumed last in, first out they work, else they are refused.

Each way in which a runtime may name a stack is tried: by its handle, by its bounds alone, by a
handle that went stale.
"""

import signal

import pytest

WAYS = ["BY_HANDLE", "BY_BOUNDS", "BY_STALE_HANDLE"]
REGISTERED = pytest.mark.parametrize("registered", [True, False], ids=["registered", "transient"])

NESTED = """
    def deep(depth, end):
        here = [depth]
        result = deep(depth - 1, end) + 1 if depth else end()
        assert here == [depth]
        return result

    def fibers_that(function, count, way, registered, **options):
        return [
            Fiber(
                Stack(isolation="none" if registered else None), function,
                number=number, to_fiber=way, to_back=way, **options)
            for number in range(count)
        ]
"""


def textual(code):
    return code.replace("\n", "\n    ")


@REGISTERED
@pytest.mark.parametrize("way", WAYS)
def test_nested_stacks_that_end_in_order(fiber_child, way, registered):
    program = f"""
    {textual(NESTED)}
        def work(number):
            if number + 1 == len(nest):
                return 0
            def end():
                assert nest[number + 1].resume() == DONE
                return nest[number + 1].result
            return deep(number % 7, end)

        nest = fibers_that(work, 30, {way}, {registered})
        assert nest[0].resume() == DONE
        print(nest[0].result, all(fiber.done for fiber in nest))
    """
    assert fiber_child(program) == [f"{sum(n % 7 for n in range(29))} True"]


@REGISTERED
@pytest.mark.parametrize("way", WAYS)
def test_a_stack_below_which_frames_would_be_missing_is_refused(fiber_child, way, registered):
    """The inner of two nested stacks parks in the middle of Python. Refused, it goes on and ends."""
    program = f"""
    {textual(NESTED)}
        def work(number):
            if number == 0:
                return deep(3, lambda: nest[1].resume())
            return deep(3, park)

        nest = fibers_that(work, 2, {way}, {registered})
        assert nest[0].resume() == DONE
        print(nest[0].result, nest[1].result, ISOLATION_REQUIRED)
    """
    outer, inner, refusal = fiber_child(program)[0].split()
    assert (int(outer), int(inner)) == (3, int(refusal) + 3)


@REGISTERED
@pytest.mark.parametrize("way", WAYS)
def test_at_any_depth_of_nesting(fiber_child, way, registered):
    """Each of 20 nested stacks tries to park; all of them end in order all the same."""
    program = f"""
    {textual(NESTED)}
        refusals = []

        def work(number):
            def end():
                if number + 1 < len(nest):
                    nest[number + 1].resume()
                refusals.append(park())
                return 0
            return deep(1 + number % 5, end)

        nest = fibers_that(work, 20, {way}, {registered})
        assert nest[0].resume() == DONE
        print(set(refusals) == {{ISOLATION_REQUIRED}}, len(refusals), all(f.done for f in nest))
    """
    assert fiber_child(program) == ["True 20 True"]


def test_unguarded_resuming_below_other_frames_crashes(fiber_child):
    """The function that resumed the fiber has returned, and others stand where it stood."""
    program = f"""
    {textual(NESTED)}
        def start():
            fiber.resume()

        fiber = fibers_that(lambda number: deep(50, park), 1, BY_HANDLE, False, raw=True)[0]
        start()
        deep(60, fiber.resume)
    """
    fiber_child(program, ends=-signal.SIGSEGV)


def test_a_stack_without_python_on_it_may_park_and_come_back_in_any_order(fiber_child):
    """Its C functions are below no frame."""
    program = """
        many = [Fiber(Stack(), lambda number: number, "pcpcp", number=n) for n in range(9)]
        order = random.Random(2)
        while not all(fiber.done for fiber in many):
            fiber = order.choice([fiber for fiber in many if not fiber.done])
            assert fiber.resume() == DONE
        print([fiber.result for fiber in many])
    """
    assert fiber_child(program) == [str(list(range(9)))]


def test_null_is_the_native_stack(fiber_child, isolation):
    program = f"""
        seen = []
        def work(number):
            seen.append(stackwarden.current_stack().bounds_from)
            park()
        fiber = Fiber(Stack(isolation={isolation!r}), work, to_back=BY_NULL)
        while not fiber.done:
            assert fiber.resume() == DONE
            seen.append(stackwarden.current_stack().bounds_from)
        print(*seen)
    """
    assert fiber_child(program) == ["told native native"]


def test_a_native_stack_that_was_left_in_the_middle_of_python(fiber_child):
    """The function that resumed the fiber is to return before the fiber does."""
    program = f"""
    {textual(NESTED)}
        fiber = fibers_that(lambda number: deep(2, park), 1, BY_HANDLE, True)[0]
        assert fiber.resume() == DONE
        print(fiber.done, fiber.result == ISOLATION_REQUIRED + 2)
    """
    assert fiber_child(program) == ["True True"]
