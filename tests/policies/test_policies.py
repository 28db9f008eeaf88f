"""Policies: what is made of the bounds of a stack, for one stack, a thread, the process, by whatever switch."""

import ctypes
import sys
import threading

import pytest
from stackwarden.adapters.ucontext import Coroutine, suspend

import stackwarden
from stackwarden import stack_policy

KIB = 1024
MIB = 1024 * KIB
COUNTS = sys.version_info < (3, 14)
WORDS = ("exact", "estimate", "counted", "disabled")
KNOWN, UNKNOWN, FOREIGN = range(3)

bounds_only = pytest.mark.skipif(COUNTS, reason="CPython checks bounds from 3.14 on")
counts_only = pytest.mark.skipif(not COUNTS, reason="CPython counts C calls until 3.13")


def on_told(probe, stack, function):
    """Run a function on a stack that is told of."""

    def work():
        stackwarden.notify_stack_switch(stack.base, stack.size)
        return function()

    result = probe.call_on(stack.base, stack.size, work)
    stackwarden.reset_stack()
    return result


@pytest.fixture
def new_stack(memory):
    made = []

    def get(**options):
        made.append(stackwarden.register_stack(memory(MIB), MIB, **options))
        return made[-1]

    yield get
    for stack in made:
        stack.unregister()


def test_the_defaults():
    status = stackwarden.status()
    assert status["policy"] == status["policy_foreign_threads"] == "exact"
    assert status["policy_unknown"] == "estimate"
    assert status["assumed_size"] == 256 * KIB
    assert status["unprotected"] == ()


@pytest.mark.parametrize("word", WORDS)
def test_a_stack_has_the_policy_that_it_was_registered_with(new_stack, word):
    assert new_stack(policy=word).policy == word


@pytest.mark.parametrize("word", WORDS)
def test_and_keeps_it_whatever_the_process_says(new_stack, word):
    stack = new_stack(policy=word)
    for other in WORDS:
        with stack_policy(other), stack_policy(other, scope="thread"):
            assert stack.policy == word


@pytest.mark.parametrize("scope", ["process", "thread"])
@pytest.mark.parametrize("word", ["estimate", "counted", "disabled"])
def test_a_policy_is_effective_at_once_and_ends_with_its_block(probe, new_stack, word, scope):
    stack = new_stack()

    def work():
        before = stackwarden.current_stack().policy
        with stack_policy(word, scope=scope):
            inside = stackwarden.current_stack().policy
            assert stackwarden.status()["policy"] == word
        return before, inside, stackwarden.current_stack().policy

    assert on_told(probe, stack, work) == ("exact", word, "exact")


def test_policies_are_put_back_when_the_body_raises():
    with pytest.raises(KeyError), stack_policy("disabled", unknown="counted", assumed_size="64K"):
        assert stackwarden.status()["policy_unknown"] == "counted"
        raise KeyError


def test_nested_policies_come_back_one_after_the_other():
    seen = []
    with stack_policy("counted"):
        with stack_policy("disabled"):
            seen.append(stackwarden.status()["policy"])
        seen.append(stackwarden.status()["policy"])
    assert seen == ["disabled", "counted"]


def test_without_a_with_block_it_stays():
    stack_policy(unknown="disabled")
    assert stackwarden.status()["policy_unknown"] == "disabled"
    stack_policy(unknown="estimate")


@bounds_only
@pytest.mark.parametrize("word", WORDS)
def test_what_each_policy_has_cpython_check(probe, new_stack, is_checked, word):
    stack = new_stack(policy=word)
    assert on_told(probe, stack, lambda: is_checked(stack)) == (word in ("exact", "estimate"))


@bounds_only
def test_disabled_for_the_thread_holds_wherever_the_stack_pointer_is(
    probe, memory, effective_bounds
):
    """Nobody tells and nobody syncs: no bounds of another stack put off deallocation."""
    with stack_policy("disabled", scope="thread"):
        base = memory(MIB)
        bounds = probe.call_on(base, MIB, effective_bounds)
        assert bounds["soft"] < base


@bounds_only
def test_a_budget_holds_where_checks_are_disabled(probe, new_stack):
    def recurse():
        with stackwarden.stack_budget(200 * KIB):
            return outcome_of_recursion()

    assert on_told(probe, new_stack(policy="disabled"), recurse) == "RecursionError"


def outcome_of_recursion():
    from stackwarden.testing.workloads import WORKLOADS

    return WORKLOADS["add"].run()


def remaining(effective_bounds):
    return effective_bounds()["remaining"]


@counts_only
def test_disabled_gives_a_stack_all_calls_that_cpython_has(probe, new_stack, effective_bounds):
    native = remaining(effective_bounds)
    counted = on_told(probe, new_stack(policy="counted"), lambda: remaining(effective_bounds))
    exact = on_told(probe, new_stack(), lambda: remaining(effective_bounds))
    disabled = on_told(probe, new_stack(policy="disabled"), lambda: remaining(effective_bounds))
    assert counted == exact < disabled
    assert native - 20 <= disabled


@counts_only
def test_a_change_on_the_stack_moves_what_remains_and_moves_it_back(
    probe, new_stack, effective_bounds
):
    def work():
        before = remaining(effective_bounds)
        with stack_policy("disabled"):
            inside = remaining(effective_bounds)
        return before, inside, remaining(effective_bounds)

    before, inside, after = on_told(probe, new_stack(), work)
    assert before == after < inside


# ---- other threads ----


class Companion(threading.Thread):
    """Runs one function after another."""

    def __init__(self):
        super().__init__()
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._function = self._result = None
        self.start()

    def run(self):
        while self._go.acquire() and self._function is not None:
            self._result = self._function()
            self._done.release()

    def __call__(self, function):
        self._function = function
        self._go.release()
        if function is not None:
            self._done.acquire()
        return self._result


@pytest.fixture
def companion():
    thread = Companion()
    yield thread
    thread(None)
    thread.join()


def synced_policy():
    stackwarden.sync_stack()
    return stackwarden.current_stack().policy


def test_other_threads_get_the_policy_of_the_process_with_their_next_sync(companion):
    assert companion(synced_policy) == "exact"
    with stack_policy("disabled"):
        assert companion(synced_policy) == "disabled"
    assert companion(synced_policy) == "exact"


@bounds_only
def test_and_its_bounds(companion, is_checked):
    def look():
        stackwarden.sync_stack()
        return is_checked(stackwarden.current_stack())

    assert companion(look)
    with stack_policy("disabled"):
        assert not companion(look)
    assert companion(look)


def test_the_policy_of_a_thread_is_its_own(companion):
    with stack_policy("disabled", scope="thread"):
        assert synced_policy() == "disabled"
        assert companion(synced_policy) == "exact"
        assert companion(lambda: stackwarden.status()["policy"]) == "exact"


def test_the_policy_of_a_thread_goes_before_that_of_the_process(companion):
    with stack_policy("counted", scope="thread"), stack_policy("disabled"):
        assert synced_policy() == "counted"
        assert companion(synced_policy) == "disabled"


def test_a_stack_has_the_policy_of_the_thread_that_it_is_on(probe, new_stack, companion):
    stack = new_stack()

    def here():
        return on_told(probe, stack, lambda: stackwarden.current_stack().policy)

    with stack_policy("disabled", scope="thread"):
        assert [here(), companion(here), here()] == ["disabled", "exact", "disabled"]
    assert here() == "exact"


@pytest.mark.parametrize("word", WORDS)
def test_the_policy_of_a_thread_holds_in_coroutines_that_it_resumes(is_checked, word):
    def work():
        while True:
            here = stackwarden.current_stack()
            suspend((here.policy, COUNTS or is_checked(here)))

    coroutine = Coroutine(work, stack_size=MIB)
    assert coroutine.resume() == ("exact", True)
    with stack_policy(word, scope="thread"):
        assert coroutine.resume() == (word, COUNTS or word in ("exact", "estimate"))
    assert coroutine.resume() == ("exact", True)
    coroutine.close()


def test_a_thread_that_ends_takes_its_policies_with_it():
    seen = []

    def choose():
        seen.append(synced_policy())
        stack_policy("disabled", scope="thread")
        seen.append(synced_policy())

    for _ in range(3):
        thread = threading.Thread(target=choose)
        thread.start()
        thread.join()
    assert seen == ["exact", "disabled"] * 3


def test_and_the_stacks_it_was_on_go_by_others_again(probe, new_stack):
    stack = new_stack()

    def here():
        return on_told(probe, stack, lambda: stackwarden.current_stack().policy)

    def choose():
        stack_policy("disabled", scope="thread")
        assert here() == "disabled"

    thread = threading.Thread(target=choose)
    thread.start()
    thread.join()
    assert here() == "exact"


def test_a_policy_of_a_thread_may_end_on_another(companion):
    policy = companion(lambda: stack_policy("disabled", scope="thread"))
    assert companion(synced_policy) == "disabled"
    policy.__exit__(None, None, None)
    assert companion(synced_policy) == "exact"
    assert synced_policy() == "exact"


@pytest.mark.parametrize("scope", ["process", "thread"])
def test_blocks_end_in_any_order(scope):
    first, second = stack_policy("counted", scope=scope), stack_policy("disabled", scope=scope)
    assert synced_policy() == "disabled"
    first.__exit__(None, None, None)
    assert synced_policy() == "disabled"
    second.__exit__(None, None, None)
    assert synced_policy() == "exact"


def test_a_block_that_no_with_statement_ends_goes_with_its_object():
    """So CPython 3.14 leaves it where a signal handler raises before the body."""
    stack_policy("counted").__enter__()
    assert synced_policy() == "exact"


def assumed():
    return stackwarden.status()["assumed_size"]


def test_sizes_that_are_dropped_are_for_good_behind_those_of_blocks():
    before = assumed()
    with stack_policy(assumed_size="4M"):
        stack_policy(assumed_size="1M")
        assert assumed() == 4 * MIB
    assert assumed() == MIB
    stack_policy(assumed_size=before)
    assert assumed() == before


def test_sizes_of_blocks_of_many_threads_end_in_any_order():
    before = assumed()
    go_on = threading.Barrier(8)

    def work(number):
        go_on.wait(30)
        for turn in range(200):
            with stack_policy(assumed_size=(number + 1) * MIB + turn * 4096):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert assumed() == before


def test_a_size_ends_where_another_thread_drops_its_generator():
    def block():
        with stack_policy(assumed_size="1M"):
            yield

    before, box = assumed(), [block()]
    next(box[0])
    assert assumed() == MIB
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    assert assumed() == before


def test_a_block_that_ends_twice_ends_once():
    before, policy = assumed(), stack_policy(assumed_size="1M")
    policy.__exit__(None, None, None)
    with stack_policy(assumed_size="2M"):
        policy.__exit__(None, None, None)
        assert assumed() == 2 * MIB
    assert assumed() == before


def test_sizes_of_blocks_end_in_any_order():
    before = stackwarden.status()["assumed_size"]
    first, second = stack_policy(assumed_size="1M"), stack_policy(assumed_size="2M")
    first.__exit__(None, None, None)
    assert stackwarden.status()["assumed_size"] == 2 * MIB
    second.__exit__(None, None, None)
    assert stackwarden.status()["assumed_size"] == before


def test_without_a_block_it_is_for_good_and_stands_behind_those_of_blocks():
    with stack_policy("counted"):
        stack_policy("disabled")
        assert synced_policy() == "counted"
    assert synced_policy() == "disabled"
    stack_policy("exact")
    assert synced_policy() == "exact"


# ---- unknown stacks ----


@pytest.mark.parametrize("word", ["estimate", "counted", "disabled"])
@pytest.mark.parametrize("size", [128 * KIB, 4 * MIB])
def test_the_policy_for_unknown_stacks(probe, memory, word, size):
    with stack_policy(unknown=word):
        assert probe.call_on(memory(size), size, synced_policy) == word
        assert synced_policy() == "exact"


def test_exact_for_unknown_stacks_guesses_nothing(probe, memory):
    """Bounds where the map tells them, no checks where it does not."""

    def look():
        stackwarden.sync_stack()
        stack = stackwarden.current_stack()
        return stack.bounds_from, stack.policy

    base = memory(4 * MIB)
    ctypes.memset(base, 1, 1)  # in use at its low end: maybe another stack's
    with stack_policy(unknown="exact"):
        assert probe.call_on(base, 4 * MIB, look) == ("estimate", "disabled")
    probe.forbid(base, 4 * MIB - 192 * KIB)
    probe.forbid(base + 4 * MIB - 4 * KIB, 4 * KIB)
    stackwarden.sync_stack()
    with stack_policy(unknown="exact"):
        bounds_from, policy = probe.call_on(base + 4 * MIB - 192 * KIB, 188 * KIB, look)
    assert bounds_from == "map"
    assert policy == ("estimate" if COUNTS else "exact")


@bounds_only
def test_disabled_for_unknown_stacks_asks_the_operating_system_nothing(
    probe, memory, effective_bounds
):
    base = memory(MIB)

    def look():
        stackwarden.sync_stack()
        return effective_bounds()["soft"]

    with stack_policy(unknown="disabled"):
        assert probe.call_on(base, MIB, look) < 1 << 20


# ---- threads that Python did not create ----


def test_a_foreign_thread_is_exact_unless_asked_otherwise(probe):
    assert probe.call_in_thread(synced_policy) == "exact"


@pytest.mark.parametrize("word", ["estimate", "counted", "disabled"])
def test_the_policy_for_foreign_threads_is_theirs_alone(probe, companion, word):
    with stack_policy(foreign_threads=word):
        assert probe.call_in_thread(synced_policy) == word
        assert companion(synced_policy) == "exact"
        assert synced_policy() == "exact"
    assert probe.call_in_thread(synced_policy) == "exact"


@bounds_only
def test_disabled_for_foreign_threads_has_cpython_check_nothing_there(probe, effective_bounds):
    def look():
        stackwarden.sync_stack()
        return effective_bounds()["soft"]

    assert probe.call_in_thread(look) > 1 << 20
    with stack_policy(foreign_threads="disabled"):
        assert probe.call_in_thread(look) < 1 << 20


@counts_only
def test_a_foreign_threads_own_small_stack_gets_few_calls(probe, memory, effective_bounds):
    def look():
        stackwarden.sync_stack()
        return remaining(effective_bounds)

    base, size = memory(128 * KIB), 128 * KIB
    few = probe.call_in_thread(look, base, size)
    with stack_policy(foreign_threads="disabled"):
        most = probe.call_in_thread(look, base, size)
    assert 80 < few <= 120 < most


def test_a_foreign_thread_may_choose_for_itself(probe):
    def work():
        with stack_policy("disabled", scope="thread"):
            return synced_policy()

    assert probe.call_in_thread(work) == "disabled"


# ---- refusals ----


@pytest.mark.parametrize(
    "arguments",
    [
        {"policy": "never"},
        {"policy": "inherited"},
        {"policy": 1},
        {"unknown": "never"},
        {"foreign_threads": "never"},
        {"policy": "disabled", "unknown": "never"},
        {"policy": "disabled", "scope": "world"},
        {"policy": "disabled", "foreign_threads": "exact", "scope": "thread"},
        {"policy": "disabled", "assumed_size": 65536, "scope": "thread"},
    ],
)
def test_what_is_no_policy_is_refused_and_changes_nothing(arguments):
    with pytest.raises(stackwarden.PolicyError):
        stack_policy(**arguments)


def test_a_refusal_names_the_word_and_what_there_is():
    with pytest.raises(
        stackwarden.PolicyError, match=r"unknown 'never'.*exact, estimate, counted, disabled"
    ):
        stack_policy(unknown="never")


@pytest.mark.parametrize("size", [0, -1, "lots", 2**47])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(stackwarden.StackRangeError):
        stack_policy("disabled", assumed_size=size)


def test_register_refuses_what_is_no_policy(memory):
    with pytest.raises(stackwarden.PolicyError, match="'never'"):
        stackwarden.register_stack(memory(MIB), MIB, policy="never")
    with pytest.raises(stackwarden.PolicyError, match="'inherited'"):
        stackwarden.register_stack(memory(MIB), MIB, policy="inherited")


# ---- in C ----

EXACT, ESTIMATE, COUNTED, DISABLED = range(1, 5)


@pytest.mark.parametrize("how", ["attached", "detached", "raising"])
def test_c_sets_a_policy_for_good(capi, how):
    calls = getattr(capi, how)
    assert calls.set_policy(UNKNOWN, COUNTED) == capi.DONE
    assert stackwarden.status()["policy_unknown"] == "counted"
    assert calls.set_policy(UNKNOWN, 0) == capi.DONE
    assert stackwarden.status()["policy_unknown"] == "estimate"


def test_c_sets_a_policy_of_the_thread(capi):
    assert capi.attached.set_policy(KNOWN, DISABLED, 1) == capi.DONE
    assert synced_policy() == "disabled"
    assert capi.attached.set_policy(KNOWN, 0, 1) == capi.DONE
    assert synced_policy() == "exact"


@pytest.mark.parametrize("how", ["attached", "detached", "raising"])
@pytest.mark.parametrize("thread_only", [0, 1])
def test_c_enters_policies_and_leaves_them_in_any_order(capi, how, thread_only):
    calls = getattr(capi, how)
    first = calls.enter_policy(UNKNOWN, COUNTED, thread_only)
    second = calls.enter_policy(UNKNOWN, DISABLED, thread_only)
    assert (first.status, second.status) == (capi.DONE, capi.DONE)
    assert stackwarden.status()["policy_unknown"] == "disabled"
    assert calls.leave_policy(first) == capi.DONE
    assert stackwarden.status()["policy_unknown"] == "disabled"
    assert calls.leave_policy(second) == capi.DONE
    assert stackwarden.status()["policy_unknown"] == "estimate"
    assert calls.leave_policy(second) == capi.NOT_REGISTERED


def test_what_is_set_for_good_stands_behind_what_is_entered(capi):
    entered = capi.attached.enter_policy(UNKNOWN, COUNTED)
    assert capi.attached.set_policy(UNKNOWN, DISABLED) == capi.DONE
    assert stackwarden.status()["policy_unknown"] == "counted"
    assert capi.attached.leave_policy(entered) == capi.DONE
    assert stackwarden.status()["policy_unknown"] == "disabled"
    assert capi.attached.set_policy(UNKNOWN, 0) == capi.DONE


@pytest.mark.parametrize(
    "request_", [(3, EXACT), (2**31, EXACT), (KNOWN, 5), (KNOWN, 2**32 - 1), (FOREIGN, EXACT, 1)]
)
def test_c_refuses_what_is_no_policy(capi, request_):
    assert capi.attached.set_policy(*request_) == capi.BAD_POLICY
    assert capi.attached.enter_policy(*request_).status == capi.BAD_POLICY


def test_c_registers_a_stack_with_a_policy(capi, memory):
    base = memory(MIB)
    status, handle = capi.attached.register(base, MIB, None, None, COUNTED << 8)
    assert status == capi.DONE
    (stack,) = [stack for stack in stackwarden.stacks() if stack.handle == handle]
    assert stack.policy == "counted"
    stack.unregister()
    assert capi.attached.register(base, MIB, None, None, 5 << 8)[0] == capi.BAD_POLICY


# ---- status and doctor ----


def test_status_says_what_a_policy_leaves_unprotected():
    with stack_policy("counted", unknown="disabled"):
        text = " ".join(stackwarden.status()["unprotected"])
    if COUNTS:
        assert "unknown stacks" in text
        assert "known stacks: only" not in text
    else:
        assert "known stacks: only Python frames are counted" in text
        assert "unknown stacks: nothing is checked" in text
