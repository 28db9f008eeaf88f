"""What is refused, and that it changes nothing: switches by telling alone, wrong arguments."""

import contextvars
import ctypes
import mmap
from functools import partial

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from stackwarden import IsolationRequiredError, StackRangeError, StackTooSmallError
from stackwarden.errors import CoroutineError

MIB = 1 << 20
variable = contextvars.ContextVar("variable", default="default")


@pytest.fixture
def memory():
    """The address of 1 MiB."""
    mapped = mmap.mmap(-1, MIB)
    view = ctypes.c_char.from_buffer(mapped)
    yield ctypes.addressof(view)
    del view
    mapped.close()


def everything():
    current = stackwarden.current_stack()
    return current, current.bounds_from, current.thread, stackwarden.status()


def native():
    (found,) = {
        (stack.base, stack.size)
        for stack in stackwarden.stacks()
        if stack.bounds_from == "native" and stack.thread is None
    }
    return found


def refused_inside(coroutine, call):
    """Inside a coroutine, a call raises IsolationRequiredError, changes nothing, and work goes on."""

    def work():
        before = everything()
        with pytest.raises(IsolationRequiredError):
            call()
        assert everything() == before
        assert suspend("suspended") == "resumed"
        return "end"

    made = coroutine(work)
    assert made.resume() == "suspended"
    assert made.resume("resumed") == "end"


def test_reset_stack_is_refused_inside_a_coroutine(coroutine):
    refused_inside(coroutine, stackwarden.reset_stack)


def test_telling_of_the_native_stack_is_refused_inside_a_coroutine(coroutine):
    refused_inside(coroutine, lambda: stackwarden.notify_stack_switch(*native()))


def test_telling_of_another_coroutines_stack_is_refused_inside_and_outside(coroutine):
    other = coroutine(suspend)
    other.resume()

    def tell():
        stackwarden.notify_stack_switch(other.stack_base, 256 * 1024)

    refused_inside(coroutine, tell)
    before = everything()
    with pytest.raises(IsolationRequiredError):
        tell()
    assert everything() == before
    other.close()


@pytest.mark.usefixtures("unchecked")
def test_a_nested_call_on_a_plain_stack_shares_the_coroutines_state(coroutine, memory):
    def work():
        variable.set("inside")
        mine = stackwarden.current_stack()
        told = stackwarden.notify_stack_switch(memory, MIB)
        assert stackwarden.current_stack() == told
        assert told.isolation == "none"
        assert variable.get() == "inside"
        with pytest.raises(IsolationRequiredError):
            stackwarden.reset_stack()
        stackwarden.notify_stack_switch(mine.base, mine.size)
        assert stackwarden.current_stack() == mine
        return suspend("end")

    made = coroutine(work)
    assert made.resume() == "end"
    made.resume()


def test_the_stack_of_a_coroutine_that_runs_cannot_be_unregistered(quiet_child, mode):
    """Not from a nested call on another stack either."""
    printed = quiet_child(
        """
        import ctypes, mmap

        memory = mmap.mmap(-1, 1 << 20)
        base = ctypes.addressof(ctypes.c_char.from_buffer(memory))

        def refused(stack):
            try:
                stack.unregister()
            except stackwarden.StackInUseError:
                print("refused")

        def work():
            mine = stackwarden.current_stack()
            refused(mine)
            stackwarden.notify_stack_switch(base, 1 << 20)
            refused(mine)
            stackwarden.notify_stack_switch(mine.base, mine.size)
            suspend()

        made = coroutine(work)
        made.resume()
        made.resume()
        """,
        mode,
    )
    assert printed == "refused\n" * 2


def test_a_stack_that_was_unregistered_cannot_be_resumed(quiet_child, mode):
    printed = quiet_child(
        """
        def work():
            suspend("left")
            print("never comes here")

        made = coroutine(work)
        made.resume()
        for stack in stackwarden.stacks():
            if stack.base == made.stack_base:
                print(stack.unregister())
        for _ in range(2):
            try:
                made.resume()
            except stackwarden.StackwardenError as error:
                print(type(error).__name__)
        """,
        mode,
    )
    assert printed == "False\nStaleStackError\nStaleStackError\n"


def test_a_pooled_stack_that_was_unregistered_is_not_used_again(coroutine):
    coroutine(int).resume()
    for stack in stackwarden.stacks():
        if stack.system == "ucontext":
            stack.unregister()
    assert coroutine(lambda: "still works").resume() == "still works"


# ---- register_stack ----


@pytest.mark.parametrize("isolation", ["Frames", "", None, 1, b"frames", "thread_state"])
def test_isolations_that_do_not_exist_are_refused(memory, isolation):
    before = everything()
    with pytest.raises(ValueError, match="must be one of none, frames, thread-state"):
        stackwarden.register_stack(memory, MIB, isolation=isolation)
    assert everything() == before


@pytest.mark.parametrize("context", ["Copy", "", None, 1, {}, contextvars.Context])
def test_contexts_that_are_none_are_refused(memory, mode, context):
    before = everything()
    with pytest.raises(TypeError, match=r"must be 'copy', 'empty' or a contextvars\.Context"):
        stackwarden.register_stack(memory, MIB, isolation=mode, context=context)
    assert everything() == before


@pytest.mark.parametrize("context", ["copy", "empty", contextvars.copy_context()])
def test_an_isolated_stack_is_registered_and_forgotten(memory, mode, context):
    before = everything()
    with stackwarden.register_stack(memory, MIB, isolation=mode, context=context) as stack:
        assert stack.isolation == mode
        assert stack.frame is None
        with pytest.raises(IsolationRequiredError):
            stackwarden.notify_stack_switch(memory, MIB)
        assert stackwarden.format_stack(stack).endswith("<no Python frame>")
    assert everything() == before


def test_a_stack_keeps_none_by_default(memory):
    with stackwarden.register_stack(memory, MIB) as stack:
        assert stack.isolation == "none"


def test_ranges_are_refused_with_isolation_as_without(memory, mode):
    before = everything()
    with pytest.raises(StackTooSmallError):
        stackwarden.register_stack(memory, 16 * 1024, isolation=mode)
    with pytest.raises(StackRangeError):
        stackwarden.register_stack(memory, 0, isolation=mode)
    assert everything() == before


# ---- Coroutine ----


def test_what_a_coroutine_cannot_be_made_of_is_refused():
    before = everything()
    with pytest.raises(TypeError, match=r"Coroutine\(\): str is not callable"):
        Coroutine("not callable")
    with pytest.raises(ValueError, match="isolation"):
        Coroutine(int, isolation="none")
    for size in (0, -1, 2**47, 2**70):
        with pytest.raises(StackRangeError, match=r"stack_size .*\(1T\)"):
            Coroutine(int, stack_size=size)
    with pytest.raises(StackRangeError, match="stack_size '1 megabyte': not a size"):
        Coroutine(int, stack_size="1 megabyte")
    for size in (True, 1.5, None):
        with pytest.raises(TypeError, match="stack_size must be bytes"):
            Coroutine(int, stack_size=size)
    with pytest.raises(StackTooSmallError):
        Coroutine(int, stack_size=4096)
    assert everything() == before


async def later():
    pass


async def some_later():
    yield


def some():
    yield


class Some:
    def __call__(self):
        yield


@pytest.mark.parametrize(
    "function", [later, some_later, some, partial(some), Some(), Some().__call__]
)
def test_a_function_that_a_call_does_not_run_is_refused(function):
    before = everything()
    with pytest.raises(
        TypeError, match=r"Coroutine\(\) cannot be used on .*calling it does not run it"
    ):
        Coroutine(function)
    assert everything() == before


def test_a_stack_size_may_be_a_text():
    assert Coroutine(lambda: stackwarden.current_stack().size, stack_size="1M").resume() == MIB


def test_the_first_resume_takes_no_value(coroutine):
    made = coroutine(suspend)
    with pytest.raises(TypeError, match="first resume"):
        made.resume(1)
    made.resume()
    made.close()


def test_a_refused_throw_leaves_nothing_behind(coroutine):
    made = coroutine(lambda: made.throw(KeyError("from inside")))
    with pytest.raises(CoroutineError):
        made.resume()
    assert made.done
