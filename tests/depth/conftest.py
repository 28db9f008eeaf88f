"""Fixtures of the tests of depth: recursion in C (depth_probe), and the stacks that it runs on."""

import threading

import pytest


def on_the_native_stack(function):
    return function()


def in_a_thread(function):
    """On a native stack of 1 MiB."""
    from stackwarden.testing.child import in_thread

    before = threading.stack_size(1 << 20)
    try:
        return in_thread(function)
    finally:
        threading.stack_size(before)


def on_a_foreign_stack(function):
    from stackwarden.adapters.ucontext import Coroutine

    return Coroutine(function, stack_size=256 << 10).resume()


@pytest.fixture(params=[on_the_native_stack, in_a_thread, on_a_foreign_stack])
def somewhere(request):
    """somewhere(function): call it on a stack of one kind."""
    return request.param
