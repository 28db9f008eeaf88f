"""The adapter keeps what every adapter must, on real Boost.Context."""

import children
import conformance
import paths
from availability import unavailable

try:
    from stackwarden.adapters.fcontext import Coroutine, suspend
except ImportError as error:
    unavailable("boost", str(error))


def test_the_adapter_conforms():
    conformance.check("stackwarden.adapters.fcontext")


def test_a_coroutine_is_a_generator_of_what_it_suspends_with():
    def count():
        for number in range(3):
            suspend(number)

    assert list(Coroutine(count)) == [0, 1, 2]


def test_a_coroutine_goes_through_a_for_loop():
    def letters():
        for letter in "abc":
            suspend(letter)
        return "not among them"

    seen = ""
    for letter in Coroutine(letters):
        seen += letter
    assert seen == "abc"


def test_the_round_robin_scheduler_of_the_examples():
    example = paths.CHECKOUT / "docs" / "examples" / "round_robin.py"
    ran = children.run_python(example)
    lines = ["first 2", "second 3", "first 1", "second 2", "second 1"]
    assert ran.stdout.splitlines() == lines
