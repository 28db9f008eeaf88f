"""The conformance kit on the coroutines of an adapter.

It runs in a process of its own: where stacks come to lie depends on what was mapped before.
"""

import children

PROGRAM = """
import importlib, sys
from stackwarden.testing import check_adapter

adapter = importlib.import_module(sys.argv[1])

def run(function, stack_size):
    return adapter.Coroutine(function, stack_size=stack_size).resume()

def interleave(functions, stack_size):
    coroutines = [adapter.Coroutine(function, adapter.suspend, stack_size=stack_size) for function in functions]
    results = [None] * len(coroutines)
    while not all(coroutine.done for coroutine in coroutines):
        for place, coroutine in enumerate(coroutines):
            if not coroutine.done:
                results[place] = coroutine.resume()
    return results

print("\\n".join(check_adapter(run, interleave=interleave, isolation="frames")))
"""


def check(adapter: str) -> None:
    """All that the kit checks must hold, interleaving and stacks on either side of the native one among it."""
    printed = children.run_python(PROGRAM, arguments=[adapter], seconds=240).stdout
    assert "came to lie" not in printed
    assert "interleaving" in printed
