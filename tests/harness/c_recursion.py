"""How deep recursion in C goes here and now."""

import pytest


class Deep:
    """Recursion through C: each addition is a call of CPython's."""

    def __init__(self):
        self.depth = 0

    def __add__(self, other):
        self.depth += 1
        return self + other


def depth():
    """Calls until RecursionError."""
    deep = Deep()
    with pytest.raises(RecursionError):
        deep + 1
    return deep.depth
