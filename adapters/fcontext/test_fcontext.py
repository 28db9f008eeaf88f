"""The adapter keeps what every adapter must, on real Boost.Context."""

from availability import unavailable

from stackwarden.testing import check_adapter

try:
    from stackwarden.adapters.fcontext import Coroutine, suspend
except ImportError as error:
    unavailable("boost", str(error))


def run(function, stack_size):
    return Coroutine(function, stack_size=stack_size).resume()


def interleave(functions, stack_size):
    coroutines = [Coroutine(function, suspend, stack_size=stack_size) for function in functions]
    results = [None] * len(coroutines)
    while not all(coroutine.done for coroutine in coroutines):
        for place, coroutine in enumerate(coroutines):
            if not coroutine.done:
                results[place] = coroutine.resume()
    return results


def test_the_adapter_conforms():
    checked = check_adapter(run, interleave=interleave, isolation="frames")
    assert not [line for line in checked if "came to lie" in line]


def test_a_coroutine_is_a_generator_of_what_it_suspends_with():
    def count():
        for number in range(3):
            suspend(number)

    assert list(Coroutine(count)) == [0, 1, 2]
