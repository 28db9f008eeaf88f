"""How deep it goes: ten times as deep as the plain interpreter, or as deep as memory allows."""

import sys
from pathlib import Path

import pytest

import children
import stackwarden
from stackwarden import call_on_stack, deep_recursion, maybe_grow

sys.path.insert(0, str(Path(__file__).parent))

import deep_work

PROGRAM = Path(__file__).parent / "deep_work.py"
OUT_OF_THE_WAY = 10**6
MIB = 1 << 20


@pytest.fixture
def no_limit():
    """The recursion limit is out of the way."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(OUT_OF_THE_WAY)
    yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize("how", ["call_on_stack", "deep_recursion"])
@pytest.mark.parametrize("name", deep_work.WORK)
def test_ten_times_as_deep_as_the_plain_interpreter(name, how):
    done = children.run_python(PROGRAM, arguments=[name, how])
    depth, reached = map(int, done.stdout.split()[-2:])
    assert reached == 10 * depth


@pytest.mark.parametrize("name", deep_work.OWN_LIMITS)
def test_where_c_code_counts_for_itself_the_stack_changes_nothing(name, no_limit):
    parse = deep_work.OWN_LIMITS[name]
    for call in (lambda f, depth: f(depth), call_on_stack):
        call(parse, 50)
        with pytest.raises((SyntaxError, MemoryError, RecursionError)):
            call(parse, 20_000)


def countdown(depth):
    return 0 if depth == 0 else 1 + countdown(depth - 1)


def test_pure_python_calls_itself_100_000_deep(no_limit):
    assert call_on_stack(countdown, 100_000) == 100_000


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 counts Python and C calls together")
def test_pure_python_calls_itself_100_000_deep_on_any_stack(no_limit):
    from stackwarden.adapters.ucontext import Coroutine

    assert countdown(100_000) == 100_000
    assert Coroutine(countdown, 100_000, stack_size=256 * 1024).resume() == 100_000


class Adder:
    def __add__(self, other):
        return self + other


@pytest.mark.parametrize("stack_size", ["256K", "1M", "64M"])
def test_runaway_recursion_through_c_raises_and_the_interpreter_goes_on(no_limit, stack_size):
    if sys.version_info < (3, 12):
        sys.setrecursionlimit(50_000)  # the stack is made for it

    for _ in range(3):
        with pytest.raises(RecursionError):
            call_on_stack(lambda: Adder() + 1, stack_size=stack_size)


RUNAWAY = """
    import sys
    import stackwarden

    class Adder:
        def __add__(self, other):
            return self + other

    sys.setrecursionlimit(20_000)
    try:
        stackwarden.call_on_stack(lambda: Adder() + 1, stack_size="256K")
    except RecursionError:
        print("RecursionError")
"""


def test_where_nothing_is_protected_the_same_ends_the_process(child):
    """The unprotected twin. On 3.11 the stack is made for the limit, and nothing need be protected."""
    assert child(RUNAWAY).stdout == "RecursionError\n"
    child(RUNAWAY, ends=0 if sys.version_info < (3, 12) else -11, STACKWARDEN_MECHANISM="none")


# ---- maybe_grow, in one's own recursion ----

DEEP = 100_000


def stacks_in_use():
    return sum(stack.name == "call_on_stack" for stack in stackwarden.stacks())


def test_a_visitor_through_sorted_goes_as_deep_as_memory_allows(no_limit):
    def visit(depth):
        if depth:
            sorted([depth - 1], key=lambda left: maybe_grow(visit, left))
        else:
            visit.stacks = stacks_in_use()

    visit(DEEP)
    assert visit.stacks > 1


def test_deepcopy_goes_as_deep_through_a_method_of_ones_own(no_limit):
    import copy

    class Node:
        def __init__(self, following):
            self.following = following

        def __deepcopy__(self, memo):
            return Node(maybe_grow(copy.deepcopy, self.following, memo))

    node = None
    for _ in range(DEEP):
        node = Node(node)
    copied, length = copy.deepcopy(node), 0
    while copied is not None:
        copied, length = copied.following, length + 1
    assert length == DEEP


def test_a_parser_goes_as_deep(no_limit):
    import re

    def parse(text, at):
        """Nested brackets, by a callback from C for each level."""
        if text[at] == "]":
            return at + 1
        ends = []
        re.sub(r"\[", lambda _: ends.append(maybe_grow(parse, text, at + 1)) or "", "[")
        return ends[0] + 1 if text[ends[0] : ends[0] + 1] == "]" else ends[0]

    assert parse("[" * DEEP + "]" * DEEP, 0) == 2 * DEEP


def test_maybe_grow_calls_in_place_while_there_is_room():
    here = stackwarden.current_stack()
    assert maybe_grow(stackwarden.current_stack) == here
    assert call_on_stack(
        lambda: stackwarden.current_stack() == maybe_grow(stackwarden.current_stack)
    )


def test_maybe_grow_grows_on_a_stack_that_is_small():
    from stackwarden.adapters.ucontext import Coroutine

    def work_there():
        return maybe_grow(stackwarden.current_stack).name

    assert Coroutine(work_there, stack_size=128 * 1024).resume() == "call_on_stack"
    assert Coroutine(work_there, stack_size=4 * MIB).resume() is None


def test_maybe_grow_takes_any_arguments_and_gives_back_what_comes():
    assert maybe_grow(lambda *args, **kwargs: (args, kwargs), 1, func=2, stack_size=3) == (
        (1,),
        {"func": 2, "stack_size": 3},
    )
    with pytest.raises(KeyError, match="x"):
        maybe_grow({}.__getitem__, "x")


# ---- deep_recursion ----


def test_the_outermost_call_gets_the_stack_and_inner_ones_stay_on_it():
    @deep_recursion(stack_size=3 * MIB)
    def visit(depth):
        here = {stackwarden.current_stack().handle}
        return here | visit(depth - 1) if depth else here

    before = stackwarden.current_stack()
    handles = visit(10)
    assert len(handles) == 1
    assert before.handle not in handles
    assert stackwarden.current_stack() == before


def test_inner_calls_go_on_on_another_stack_when_it_is_used_up():
    counts_all = sys.version_info < (3, 12)  # against the limit

    @deep_recursion(stack_size="1M", limit=3_000 if counts_all else OUT_OF_THE_WAY)
    def visit(depth):
        if depth:
            sorted([depth - 1], key=visit)
        else:
            visit.stacks = stacks_in_use()
        return 0

    visit(2_000 if counts_all else 20_000)
    assert visit.stacks > 1 + (not counts_all)


def test_the_limit_is_raised_meanwhile_and_put_back_on_every_way_out():
    former = sys.getrecursionlimit()

    @deep_recursion(stack_size=MIB, limit=former + 1_000)
    def work(ends):
        if ends:
            raise LookupError(sys.getrecursionlimit())
        return sys.getrecursionlimit()

    assert work(False) == former + 1_000
    with pytest.raises(LookupError, match=str(former + 1_000)):
        work(True)
    assert sys.getrecursionlimit() == former


def test_a_lower_limit_changes_nothing():
    former = sys.getrecursionlimit()
    assert deep_recursion(limit=former - 1)(sys.getrecursionlimit)() == former


def test_of_overlapping_limits_the_highest_holds_and_the_last_to_end_puts_back():
    import threading

    former = sys.getrecursionlimit()
    entered, leave = threading.Event(), threading.Event()
    seen = []

    @deep_recursion(limit=former + 2_000)
    def high():
        entered.set()
        leave.wait()

    @deep_recursion(limit=former + 1_000)
    def low():
        thread = threading.Thread(target=high)
        thread.start()
        entered.wait()
        seen.append(sys.getrecursionlimit())
        leave.set()
        thread.join()
        seen.append(sys.getrecursionlimit())
        seen.append(deep_recursion(limit=former + 1_500)(sys.getrecursionlimit)())
        return sys.getrecursionlimit()

    assert low() == former + 1_000
    assert seen == [former + 2_000, former + 1_000, former + 1_500]
    assert sys.getrecursionlimit() == former


def test_a_limit_that_the_function_sets_itself_stays():
    former = sys.getrecursionlimit()
    try:
        deep_recursion(limit=former + 1_000)(sys.setrecursionlimit)(former + 5)
        assert sys.getrecursionlimit() == former + 5
    finally:
        sys.setrecursionlimit(former)


def test_a_method_can_be_decorated_and_keeps_its_name():
    class Visitor:
        @deep_recursion(stack_size=MIB)
        def visit(self, value):
            """Doc."""
            return self, value, stackwarden.current_stack().name

    visitor = Visitor()
    assert visitor.visit(1) == (visitor, 1, "call_on_stack")
    assert (Visitor.visit.__name__, Visitor.visit.__doc__) == ("visit", "Doc.")


def test_what_is_not_run_by_its_call_is_refused():
    async def coroutine():
        pass

    def generator():
        yield

    async def both():
        yield

    for function in (coroutine, generator, both):
        with pytest.raises(TypeError, match=function.__name__):
            deep_recursion()(function)


@pytest.mark.parametrize("limit", [0, -1, 1 << 31])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises(ValueError, match=str(limit)):
        deep_recursion(limit=limit)
