"""Each test leaves the thread on the stack that it found it on."""

import pytest

import stackwarden


@pytest.fixture(autouse=True)
def native_stack_afterwards():
    native = stackwarden.sync_stack()
    yield
    assert stackwarden.sync_stack() == native
