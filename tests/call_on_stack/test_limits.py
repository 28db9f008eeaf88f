"""`@deep_recursion(limit=)`: each call asks for a limit, and ends on its own, wherever others begin and end."""

import sys
import threading

import pytest

from forks import IN_CHILD
from stackwarden import deep_recursion

MIB = 1 << 20
USERS = 1000


@pytest.fixture(autouse=True)
def users_limit():
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(USERS)
    yield
    assert sys.getrecursionlimit() == USERS
    sys.setrecursionlimit(before)


def nested(levels):
    return 0 if levels == 0 else 1 + nested(levels - 1)


class Block:
    """A call under `@deep_recursion(limit=)`, in a thread of its own, from its making to `end()`."""

    def __init__(self, limit):
        self._begun, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(
            target=deep_recursion(stack_size=MIB, limit=limit)(self._run)
        )
        self._thread.start()
        self._begun.wait()

    def _run(self):
        self._begun.set()
        self._ends.wait()

    def end(self):
        self._ends.set()
        self._thread.join()


def test_a_call_keeps_its_limit_when_the_one_that_raised_it_first_ends():
    first = Block(9_000)

    @deep_recursion(stack_size=64 * MIB, limit=5_000)
    def second():
        first.end()
        assert sys.getrecursionlimit() == 5_000
        return nested(3_000)

    assert second() == 3_000


@pytest.mark.parametrize(
    "order", [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
)
def test_calls_end_in_any_order_and_the_highest_of_those_that_are_left_is_effective(order):
    limits = [3_000, 5_000, 4_000]
    blocks = dict(enumerate(map(Block, limits)))
    for ended in order:
        assert sys.getrecursionlimit() == max(limits[left] for left in blocks)
        blocks.pop(ended).end()
    assert sys.getrecursionlimit() == USERS


def test_calls_that_take_turns_on_one_thread_end_in_any_order():
    ucontext = pytest.importorskip("stackwarden.adapters.ucontext")

    def coroutine(limit):
        made = ucontext.Coroutine(
            deep_recursion(stack_size=MIB, limit=limit)(ucontext.suspend), stack_size=MIB
        )
        made.resume()
        return made

    high, low = coroutine(9_000), coroutine(5_000)
    high.resume()
    assert sys.getrecursionlimit() == 5_000
    low.resume()
    assert sys.getrecursionlimit() == USERS
    left = coroutine(7_000)
    assert sys.getrecursionlimit() == 7_000
    del left
    assert sys.getrecursionlimit() == USERS


def test_the_limit_that_the_user_sets_meanwhile_is_the_users_afterwards():
    for users in (USERS + 200, USERS - 200, 20_000):
        block = Block(5_000)
        sys.setrecursionlimit(users)
        assert sys.getrecursionlimit() == users
        other = Block(3_000)
        assert sys.getrecursionlimit() == max(users, 5_000)
        block.end()
        assert sys.getrecursionlimit() == max(users, 3_000)
        other.end()
        assert sys.getrecursionlimit() == users
    sys.setrecursionlimit(USERS)


def test_a_higher_limit_of_the_user_stays_and_a_call_under_it_has_its_own_all_the_same():
    sys.setrecursionlimit(5_000)

    def lowered():
        sys.setrecursionlimit(USERS)
        Block(1_500).end()
        return sys.getrecursionlimit()

    assert deep_recursion(stack_size=64 * MIB, limit=4_000)(lowered)() == 4_000


def test_calls_that_nest_cost_the_same_at_each_level():
    """The set of a thousand requests is not searched for each of them."""

    @deep_recursion(stack_size=256 * MIB, limit=20_000)
    def high(levels):
        return low(levels - 1) if levels else sys.getrecursionlimit()

    @deep_recursion(stack_size=256 * MIB, limit=10_000)
    def low(levels):
        return high(levels - 1) if levels else sys.getrecursionlimit()

    assert high(1_000) == 20_000


def test_a_thread_that_is_deeper_than_the_limit_that_comes_back_gets_a_recursion_error(child):
    """On 3.11, where CPython ends the process for a limit that is set far below the depth of another thread."""
    done = child("""
        import sys, threading
        import stackwarden

        sys.setrecursionlimit(1000)
        threading.stack_size(64 << 20)
        is_deep, ended = threading.Event(), threading.Lock()
        ended.acquire()

        def descend(levels):
            if levels:
                return descend(levels - 1)
            is_deep.set()
            ended.acquire()
            return max([1], key=lambda one: one)

        def begin():
            try:
                descend(3000)
            except RecursionError as error:
                print(error)

        @stackwarden.deep_recursion(stack_size="1M", limit=5000)
        def raised():
            thread.start()
            is_deep.wait()

        thread = threading.Thread(target=begin)
        raised()
        assert sys.getrecursionlimit() == 1000
        ended.release()
        thread.join()
    """)
    assert done.stdout.startswith("maximum recursion depth exceeded")


def test_a_handler_that_raises_at_any_moment_leaves_the_users_limit(child):
    done = child("""
        import random, signal, sys, time
        import stackwarden

        class Interrupted(Exception):
            pass

        def interrupt(*_):
            raise Interrupted

        @stackwarden.deep_recursion(stack_size="1M", limit=5000)
        def work():
            return sys.getrecursionlimit()

        sys.setrecursionlimit(1000)
        signal.signal(signal.SIGALRM, interrupt)
        chance, interrupted, end = random.Random(1), 0, time.monotonic() + 2
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(20e-6, 300e-6))
                while True:
                    work()
            except Interrupted:
                interrupted += 1
            assert sys.getrecursionlimit() == 1000, interrupted
        assert interrupted > 10, interrupted
        print("done")
    """)
    assert done.stdout == "done\n"


def test_a_handler_may_make_such_a_call_itself_at_any_moment(child):
    done = child("""
        import signal, sys, time
        import stackwarden

        @stackwarden.deep_recursion(stack_size="1M", limit=5000)
        def work(n):
            return n

        sys.setrecursionlimit(1000)
        signal.signal(signal.SIGALRM, lambda *_: work(2))
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0003)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            work(1)
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(sys.getrecursionlimit())
    """)
    assert done.stdout == "1000\n"


FORK = (
    IN_CHILD
    + """
    import sys, threading
    import stackwarden

    sys.setrecursionlimit(1000)

    @stackwarden.deep_recursion(stack_size="1M", limit=5000)
    def work(function, *arguments):
        return function(*arguments)
"""
)


def test_a_fork_while_others_begin_and_end_leaves_nothing_locked(child):
    done = child(
        FORK
        + """
    def begin_and_end():
        while not over:
            work(int)

    over = False
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=begin_and_end) for _ in range(3)]
    for thread in threads:
        thread.start()

    def in_the_child():
        assert work(sys.getrecursionlimit) == 5000
        assert sys.getrecursionlimit() == 1000

    for _ in range(100):
        assert in_child(in_the_child) == 0
    over = True
    for thread in threads:
        thread.join()
    assert sys.getrecursionlimit() == 1000
    print("done")
    """
    )
    assert done.stdout == "done\n"


def test_calls_of_threads_that_a_child_does_not_have_end_with_the_fork(child):
    done = child(
        FORK
        + """
    begun, ends = threading.Event(), threading.Event()
    other = threading.Thread(target=work, args=(lambda: (begun.set(), ends.wait()),))
    other.start()
    begun.wait()
    assert sys.getrecursionlimit() == 5000

    def alone():
        assert sys.getrecursionlimit() == 1000

    def below_a_call_of_its_own():
        assert sys.getrecursionlimit() == 3000
        return in_child(lambda: sys.getrecursionlimit() == 3000 or 1 / 0)

    assert in_child(alone) == 0
    assert stackwarden.deep_recursion(stack_size="1M", limit=3000)(in_child)(below_a_call_of_its_own) == 0
    ends.set()
    other.join()
    assert sys.getrecursionlimit() == 1000
    print("done")
    """
    )
    assert done.stdout == "done\n"


RUNAWAYS = {
    "growing": "growing(room='256K', stack_size='16M')(run)",
    "maybe_grow": "lambda depth: maybe_grow(run, depth)",
    "call_on_stack": "lambda depth: call_on_stack(run, depth, stack_size='1M')",
    "a limit": "deep_recursion(stack_size='16M', limit=1500)(run)",
}


@pytest.mark.parametrize("way", RUNAWAYS)
def test_a_runaway_from_stack_to_stack_ends_at_the_limit(child, way):
    """On 3.11 each new stack had the whole limit: it ended where memory ends."""
    program = f"""
        import resource, sys
        from stackwarden import call_on_stack, deep_recursion, growing, maybe_grow

        def run(depth):
            global deepest
            deepest = depth
            return again(depth + 1)

        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        sys.setrecursionlimit(1000)
        again = {RUNAWAYS[way]}
        try:
            again(0)
        except RecursionError:
            print(100 < deepest <= 1500)
        """
    assert child(program).stdout == "True\n"


def test_after_the_end_of_the_core_it_is_refused_as_not_running(child):
    done = child("""
        import stackwarden, stackwarden._core

        raised = stackwarden.deep_recursion(stack_size="1M", limit=5000)(lambda: 0)
        assert raised() == 0
        stackwarden._core._stop()
        for call in (raised, stackwarden.current_stack):
            try:
                call()
            except stackwarden.NotRunningError:
                print("not running")
    """)
    assert done.stdout == "not running\n" * 2
