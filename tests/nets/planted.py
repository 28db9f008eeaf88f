"""Faults of the kinds that the machine is for, planted in the Python interface: it must find each of them."""

import ctypes

import stackwarden
from stackwarden import _on_stack, _policy


def former_policy_is_put_back():
    """As a context manager does that remembers what there was."""

    class Former(stackwarden.stack_policy):
        def __init__(self, policy=None, **options):
            self.former = stackwarden.status()["policy"]
            super().__init__(policy, **options)

        def __exit__(self, *error):
            super().__exit__(*error)
            _policy.stack_policy(self.former)

    stackwarden.stack_policy = Former


def former_stack_is_put_back():
    class Former(stackwarden.on_stack):
        def __enter__(self):
            self.former = stackwarden.current_stack()
            return super().__enter__()

        def __exit__(self, *error):
            super().__exit__(*error)
            stackwarden.notify_stack_switch(self.former)

    stackwarden.on_stack = Former


def block_ends_on_its_own_thread_alone():
    """As where what is in effect is kept in a local of the thread."""
    import threading

    leave = _on_stack._leave_stack
    enter = _on_stack._enter_stack
    owners = {}

    def enter_here(stack):
        token = enter(stack)
        owners[token] = threading.get_ident()
        return token

    def leave_here(token):
        if owners.get(token) == threading.get_ident():
            leave(token)

    _on_stack._enter_stack, _on_stack._leave_stack = enter_here, leave_here


def budget_does_not_end():
    kept = []  # it would end with its object

    class Endless(stackwarden.stack_budget):
        def __exit__(self, *error):
            kept.append(self)

    stackwarden.stack_budget = Endless


def process_dies():
    """In the end of a budget."""

    class Deadly(stackwarden.stack_budget):
        def __exit__(self, *error):
            ctypes.string_at(0)

    stackwarden.stack_budget = Deadly


FAULTS = {
    fault.__name__: fault
    for fault in (
        former_policy_is_put_back,
        former_stack_is_put_back,
        block_ends_on_its_own_thread_alone,
        budget_does_not_end,
        process_dies,
    )
}
