"""Deep work of the standard library: how deep it goes in the plain interpreter, and ten times as deep elsewhere.

Command line: python deep_work.py NAME HOW    HOW: call_on_stack, deep_recursion
Prints how deep the plain interpreter went, and ten times that when it was reached.
"""

import ast
import copy
import json
import pickle
import sys
from collections.abc import Callable
from typing import Any

import stackwarden

OUT_OF_THE_WAY = 10**6


class Chain:
    """A chain of objects, each represented by way of the next."""

    def __init__(self, following: "Chain | None") -> None:
        self.following = following

    def __repr__(self) -> str:
        return "x" if self.following is None or repr(self.following) else ""


def chain(depth: int) -> Chain | None:
    last = None
    for _ in range(depth):
        last = Chain(last)
    return last


def nested_list(depth: int) -> list[Any]:
    nested: list[Any] = []
    for _ in range(depth):
        nested = [nested]
    return nested


def nested_tree(depth: int) -> ast.Expression:
    place = {"lineno": 1, "col_offset": 0}
    tree: ast.expr = ast.Constant(1, **place)
    for _ in range(depth):
        tree = ast.UnaryOp(ast.USub(), tree, **place)
    return ast.Expression(tree)


def long_sum(depth: int) -> str:
    return "+".join("a" * (depth + 1))  # nested to the left: ((a+a)+a)+a


def compiled(source: Any) -> Any:
    return compile(source, "deep", "eval")


def sort_by_sorting(depth: int) -> None:
    def key(left: int) -> int:
        if left:
            sorted([left - 1], key=key)
        return left

    key(depth)


WORK: dict[str, tuple[Callable[[int], Any], Callable[[Any], Any]]] = {
    "repr": (chain, repr),
    "copy.deepcopy": (nested_list, copy.deepcopy),
    "json.dumps": (nested_list, json.dumps),
    "json.loads": (lambda depth: "[" * depth + "]" * depth, json.loads),
    "pickle.dumps": (nested_list, pickle.dumps),
    "ast.parse": (long_sum, ast.parse),
    "compile source": (long_sum, compiled),
    "compile tree": (nested_tree, compiled),
    "sorted(key=)": (int, sort_by_sorting),
}
"""What makes the argument for a depth, and what is done with it."""

OWN_LIMITS = {
    "parser, parentheses": lambda depth: ast.parse("(" * depth + "1" + ")" * depth),
    "parser, operators": lambda depth: ast.parse("-" * depth + "1"),
    "parser, blocks": lambda depth: ast.parse(
        "".join(" " * level + "if a:\n" for level in range(depth)) + " " * depth + "b\n"
    ),
}
"""C code that counts for itself, whatever the stack."""


def fails(work: Callable[[Any], Any], argument: Any) -> bool:
    try:
        work(argument)
    except (RecursionError, MemoryError):
        return True
    return False


def depth_of(name: str) -> int:
    """A depth at which the plain interpreter gives up, and no more than an eighth beyond the least one."""
    make, work = WORK[name]
    depth = 64
    while not fails(work, make(depth)):
        depth *= 2
    low = depth // 2
    while depth - low > depth // 8:
        middle = (low + depth) // 2
        if fails(work, make(middle)):
            depth = middle
        else:
            low = middle
    return depth


def ten_times(name: str, how: str, depth: int) -> None:
    make, work = WORK[name]
    argument = make(10 * depth)
    if how == "deep_recursion":
        stackwarden.deep_recursion(stack_size="4G", limit=OUT_OF_THE_WAY)(work)(argument)
        return
    sys.setrecursionlimit(OUT_OF_THE_WAY)
    stackwarden.call_on_stack(work, argument, stack_size="4G")


def main() -> None:
    name, how = sys.argv[1:]
    depth = depth_of(name)
    ten_times(name, how, depth)
    print(name, depth, 10 * depth)


if __name__ == "__main__":
    main()
