"""What is asked for by a name that nobody knows, or looked at where there is nothing, is answered in words."""

import copy
import io
import json

import pytest

import stackwarden
from stackwarden import adapters
from stackwarden.errors import UnknownAdapterError

# ---- adapters ----


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("ray", "runtime_env() of stackwarden.adapters.ray"),
        ("ucontext", "Import stackwarden.adapters.ucontext"),
        ("asm", "Import stackwarden.adapters.asm"),
        ("boost_fiber", "header"),
        ("asyncio", "stay on the stack of their thread"),
        ("Trio", "stay on the stack of their thread"),
        ("eventlet", '"greenlet"'),
    ],
)
@pytest.mark.parametrize("use", [adapters.install, adapters.uninstall])
def test_of_what_needs_no_adapter_it_says_that_there_is_nothing_to_install(use, name, instead):
    with pytest.raises(UnknownAdapterError) as refused:
        use(name)
    assert str(refused.value).startswith(f"there is nothing to install for {name!r}: ")
    assert instead in str(refused.value)


def test_of_others_it_names_those_that_there_are():
    with pytest.raises(UnknownAdapterError, match=r"no adapter 'pastalet' \(available: .*greenlet"):
        adapters.install("pastalet")


@pytest.mark.parametrize("wrong", [None, 3, adapters])
def test_an_adapter_is_named_by_a_text(wrong):
    with pytest.raises(TypeError, match="named by a str"):
        adapters.install(wrong)


def test_nothing_that_is_said_to_have_no_adapter_has_one():
    assert not set(adapters._NEEDS_NONE) & set(adapters.available())


# ---- status ----


def test_a_key_that_status_does_not_have_is_refused_with_those_that_it_has():
    with pytest.raises(KeyError, match=r"no 'least_stack' \(there are .*least_stack_size"):
        stackwarden.status()["least_stack"]
    assert stackwarden.status().get("least_stack") is None
    assert "least_stack" not in stackwarden.status()


def test_otherwise_it_is_a_dict():
    status = stackwarden.status()
    assert isinstance(status, dict)
    assert copy.deepcopy(status) == dict(status)
    assert json.loads(json.dumps(status)).keys() == status.keys()


# ---- stacks ----


def test_a_stack_says_where_its_bounds_come_from(memory):
    stack = stackwarden.register_stack(memory(), 1 << 20)
    assert repr(stack).endswith(", 1048576 bytes, told>")
    stack.unregister()
    assert repr(stack).endswith(", 1048576 bytes, gone>")
    assert repr(stackwarden.current_stack()).endswith(" bytes, native>")


def test_where_no_stack_is_suspended_print_stacks_says_so(child):
    done = child("import stackwarden; stackwarden.print_stacks()")
    assert done.stderr == "<no stack is suspended in the middle of Python>\n"


def test_where_one_is_it_does_not():
    from stackwarden.adapters.ucontext import Coroutine, suspend

    coroutine, text = Coroutine(lambda: suspend()), io.StringIO()
    coroutine.resume()
    stackwarden.print_stacks(text)
    assert "no stack" not in text.getvalue()
    coroutine.close()


def test_dir_has_all_that_is_public_and_nothing_else_that_is_ours():
    assert set(stackwarden.__all__) <= set(dir(stackwarden))
    assert "TYPE_CHECKING" not in dir(stackwarden)


# ---- policies ----


def test_a_policy_is_no_decorator_and_leaves_nothing_behind():
    before = stackwarden.status()
    with pytest.raises(TypeError, match="with block"):

        @stackwarden.stack_policy("disabled")
        def work():
            pass

    assert stackwarden.status() == before


# ---- interposition ----


@pytest.mark.parametrize("use", [stackwarden.interpose, stackwarden.interposed_environment])
def test_an_isolation_that_interposition_does_not_have_is_refused(use):
    with pytest.raises(ValueError, match="isolation 'thread-state': must be one of none, frames"):
        use(isolation="thread-state")
