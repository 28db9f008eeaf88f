"""Policies of the process and of threads, for blocks and for good."""

import functools

from blocks import KINDS, WAYS, Held
from budget_rules import Budgets
from hypothesis import strategies as st
from machine import KIB, POINTER, anywhere, error_of, pick, some, step, when

import stackwarden

WORDS = ("exact", "estimate", "counted", "disabled")
KEYS = ("policy", "unknown", "foreign_threads", "assumed_size")
DEFAULTS = {"policy": "exact", "unknown": "estimate", "foreign_threads": "exact"}
PAGE = 4 * KIB

words = st.none() | st.sampled_from(WORDS)
assumed_sizes = st.none() | st.sampled_from([128 * KIB, 200_000, 512 * KIB])


class Policies(Budgets):
    def __init__(self):
        super().__init__()
        self.policies = []  # of blocks, the newest last
        self.for_good = {**DEFAULTS, "assumed_size": self.start["assumed_size"]}

    @step(
        where=anywhere,
        policy=words,
        unknown=words,
        foreign=words,
        size=assumed_sizes,
        kind=st.sampled_from(KINDS),
    )
    def begin_a_policy(self, where, policy, unknown, foreign, size, kind):
        self._begin(self.place(where), None, kind, [policy, unknown, foreign, size])

    @step(where=anywhere, policy=words, unknown=words, kind=st.sampled_from(KINDS))
    def begin_a_policy_of_a_thread(self, where, policy, unknown, kind):
        place = self.place(where)
        self._begin(place, place.thread, kind, [policy, unknown, None, None])

    @when("policies")
    @step(which=some, where=anywhere, way=st.sampled_from(WAYS))
    def end_a_policy(self, which, where, way):
        self.end_policy(pick(which, self.policies), self.place(where), way)

    @step(
        where=anywhere,
        key=st.sampled_from(KEYS[:3]),
        word=st.sampled_from(WORDS),
        of_thread=st.booleans(),
    )
    def set_a_policy_for_good(self, where, key, word, of_thread):
        place = self.place(where)
        thread = place.thread if of_thread and key != "foreign_threads" else None
        with self.on(place) as do:
            do(set_for_good, {key: word}, "thread" if thread else "process")
            (thread.policies if thread else self.for_good)[key] = word
            self.synced(place)

    @step(where=anywhere)
    def what_is_no_policy_is_refused(self, where):
        with self.on(self.place(where)) as do:
            assert do(refusals) == [error for _, error in WRONG]

    def _begin(self, place, thread, kind, values):
        wanted = {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
        options = {**wanted, "scope": "thread" if thread else "process"}
        held = Held(kind, functools.partial(stackwarden.stack_policy, **options))
        with self.on(place) as do:
            do(held.begin)
            self.policies.append(Policy(held, thread, wanted))
            if wanted.keys() - {"assumed_size"}:
                self.synced(place)

    def end_policy(self, policy, place, way):
        with self.on(place) as do:
            before = self._effective(policy.thread)
            do(policy.held.end, way)
            self.policies.remove(policy)
            after = self._effective(policy.thread)
            if any(before.get(kind) != after.get(kind) for kind in DEFAULTS):
                self.synced(place)

    # ---- what must hold ----

    def _effective(self, thread):
        """The policies of the process (None), or those that a thread has of its own."""
        effective = dict(thread.policies if thread else self.for_good)
        for policy in self.policies:
            if policy.thread is thread:
                effective |= policy.wanted
        return effective

    def policies_of(self, thread):
        return self._effective(None) | self._effective(thread)

    def expected_status(self, thread):
        expected = self.policies_of(thread)
        return super().expected_status(thread) | {
            "policy": expected["policy"],
            "policy_unknown": expected["unknown"],
            "policy_foreign_threads": self._effective(None)["foreign_threads"],
            "assumed_size": -(-expected["assumed_size"] // PAGE) * PAGE,
        }

    def expected_bounds(self, place):
        is_checked = self.policies_of(place.thread)["policy"] in ("exact", "estimate")
        if is_checked or (POINTER and self.budgets_of(place)):
            return super().expected_bounds(place)
        return None

    def compare(self):
        super().compare()
        for place in self.honest_places():
            with self.on(place) as do:
                policy = do(current_policy)
                self.synced(place)
            expected = self.policies_of(place.thread)["policy"]
            assert policy == expected, (place, policy, expected)

    def let_go(self):
        for number, policy in enumerate(list(self.policies)):
            self.end_policy(policy, pick(number, self.threads), "close")
        good = {key: DEFAULTS[key] for key in DEFAULTS} | {
            "assumed_size": self.start["assumed_size"]
        }
        set_for_good(good, "process")
        super().let_go()


class Policy:
    def __init__(self, held, thread, wanted):
        self.held, self.thread, self.wanted = held, thread, wanted


WRONG = (
    ({"policy": "none"}, stackwarden.PolicyError),
    ({"unknown": ""}, stackwarden.PolicyError),
    ({"policy": "disabled", "scope": "task"}, stackwarden.PolicyError),
    (
        {"policy": "disabled", "scope": "thread", "foreign_threads": "exact"},
        stackwarden.PolicyError,
    ),
    ({"policy": "disabled", "assumed_size": 0}, stackwarden.StackRangeError),
)


def refusals():
    return [error_of(functools.partial(stackwarden.stack_policy, **wrong)) for wrong, _ in WRONG]


def set_for_good(wanted, scope):
    stackwarden.stack_policy(**wanted, scope=scope)


def current_policy():
    stackwarden.sync_stack()
    return stackwarden.current_stack().policy
