"""What runs inside finish_switch(): destructors of what a finished fiber held, and switch callbacks.

They are ordinary Python code on the stack that was gone to, and may switch in turn.
"""

import pytest

PARKING = """
    class Parks:
        def __del__(self):
            park()
            went_on.append(threading.get_ident())

    variable = contextvars.ContextVar("variable")
    went_on = []

    def holds_a_parking_object(number):
        variable.set(Parks())

    def resumes_it(number):
        assert inner.resume() == DONE and inner.done
        assert variable.get(None) is None
        return 5
"""


def textual(code):
    return code.replace("\n", "\n    ")


def test_a_destructor_may_park(fiber_child, isolation):
    program = f"""
    {textual(PARKING)}
        for blocking in (False, True):
            inner = Fiber(Stack(isolation={isolation!r}), holds_a_parking_object, blocking=blocking)
            outer = Fiber(Stack(isolation={isolation!r}), resumes_it, blocking=blocking)
            assert outer.resume() == DONE and not outer.done and not went_on
            assert outer.resume() == DONE and outer.done and outer.result == 5
            assert went_on.pop() == threading.get_ident()
        print("went on")
    """
    assert fiber_child(program) == ["went on"]


def test_it_may_go_on_on_another_thread(fiber_child, isolation):
    """Which was left attached, while the first one was left detached and goes on being so."""
    program = f"""
    {textual(PARKING)}
        def start():
            run("s0t", [outer])
            parked.set()
            ended.wait()

        parked, ended = threading.Event(), threading.Event()
        inner = Fiber(Stack(isolation={isolation!r}), holds_a_parking_object, blocking=True)
        outer = Fiber(Stack(isolation={isolation!r}), resumes_it, "ecr", blocking=True)
        thread = threading.Thread(target=start)
        thread.start()
        parked.wait()
        status = outer.resume()
        print(status == (DONE if {isolation!r} == "thread-state" else OTHER_THREAD), outer.result)
        ended.set()
        thread.join()
    """
    result = 5 if isolation == "thread-state" else None
    assert fiber_child(program) == [f"True {result}"]


def test_a_destructor_may_resume_another_fiber(fiber_child, isolation):
    program = f"""
        class Resumes:
            def __del__(self):
                assert other.resume() == DONE

        def holds_one(number):
            variable.set(Resumes())

        def count(number):
            while True:
                counted.append(number)
                park()

        variable = contextvars.ContextVar("variable")
        counted = []
        other = Fiber(Stack(isolation={isolation!r}), count)
        for number in range(10):
            fiber = Fiber(Stack(isolation={isolation!r}), holds_one)
            assert fiber.resume() == DONE and fiber.done
            del fiber
        print(len(counted))
    """
    assert fiber_child(program) == ["10"]


def test_a_destructor_may_use_the_stack_that_has_just_become_free(fiber_child, isolation):
    program = f"""
        class Reuses:
            def __del__(self):
                statuses.append(stack.renew())

        variable = contextvars.ContextVar("variable")
        statuses = []
        stack = Stack(isolation={isolation!r})
        fiber = Fiber(stack, lambda number: variable.set(Reuses()) and None)
        for _ in range(5):
            assert fiber.resume() == DONE and fiber.done
            assert stack.renew() == DONE
            fiber.restart()
        print(statuses in ([DONE] * 5, [IN_USE] * 5))
    """
    assert fiber_child(program) == ["True"]


@pytest.mark.parametrize("native", ["0", "s0t"], ids=["attached", "detached"])
def test_callbacks_run_on_the_stack_that_was_gone_to_and_see_its_state(
    fiber_child, isolation, native
):
    program = f"""
        variable = contextvars.ContextVar("variable", default="native")

        def work(number):
            variable.set("fiber")
            try:
                raise KeyError("fiber")
            except KeyError:
                park()

        def callback(left, entered):
            here = fibers.address()
            assert entered.base <= here < entered.top and left != entered
            seen.append((variable.get(), str(sys.exc_info()[1])))

        seen = []
        stackwarden.register_switch_callback(callback)
        fiber = Fiber(Stack(isolation={isolation!r}), work, "ecr", blocking=True)
        for _ in range(2):
            assert run({native!r}, [fiber]) == (DONE, "")
        stackwarden.unregister_switch_callback(callback)
        assert fiber.done
        print(seen)
    """
    there, back = ("fiber", "'fiber'"), ("native", "None")
    assert fiber_child(program) == [str([("native", "None"), back, there, back])]


def test_a_callback_may_switch(fiber_child, isolation):
    """The switches inside are not told of one by one."""
    program = f"""
        def callback(left, entered):
            if entered.base == stack.base and not other.done:
                other.resume()
            told.append(entered)

        told = []
        stack = Stack(isolation={isolation!r})
        other = Fiber(Stack(isolation={isolation!r}), lambda number: park())
        fiber = Fiber(stack, lambda number: park())
        stackwarden.register_switch_callback(callback)
        for _ in range(2):
            assert fiber.resume() == DONE
        stackwarden.unregister_switch_callback(callback)
        print(fiber.done, other.done, len(told) >= 4)
    """
    assert fiber_child(program) == ["True True True"]
