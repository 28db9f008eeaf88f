"""status() has the keys that its type has, with values of their types."""

import types
import typing

import stackwarden
from stackwarden._types import Status, meanings


def is_of(value, hint):
    """Is it of a type, written as one of a union, literals, a tuple of any length, or a class?"""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(is_of(value, one) for one in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        return type(value) is tuple and all(is_of(one, arguments[0]) for one in value)
    return type(value) is hint


def test_it_has_exactly_its_keys_with_values_of_their_types():
    status, hints = stackwarden.status(), typing.get_type_hints(Status)
    assert list(status) == list(hints)
    wrong = {key: value for key, value in status.items() if not is_of(value, hints[key])}
    assert wrong == {}


def test_every_key_has_a_line():
    assert meanings().keys() == stackwarden.status().keys()
    assert all(meanings().values())


def test_sizes_and_counters_are_not_negative():
    assert all(value >= 0 for value in stackwarden.status().values() if type(value) is int)
