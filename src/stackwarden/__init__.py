"""stackwarden: keeps CPython safe on stacks that the operating system did not make."""

from stackwarden._core import (
    Stack,
    current_stack,
    notify_stack_switch,
    register_stack,
    register_switch_callback,
    reset_stack,
    stacks,
    status,
    sync_stack,
    unregister_switch_callback,
)
