"""docs/reference.md names what is public, all of it and nothing else, with the signatures that it has."""

import ast
import inspect
import re

import pytest

import paths
import stackwarden
from stackwarden import errors

TEXT = (paths.CHECKOUT / "docs" / "reference.md").read_text()
SIGNATURES = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^### (.*)", TEXT, re.MULTILINE)))
TABLES = re.findall(r"^\| class \|.*\n.*\n((?:\|.*\n)+)", TEXT, re.MULTILINE)


def named_in(table: str) -> list[str]:
    return re.findall(r"^\| (\w+) \|", table, re.MULTILINE)


def test_every_public_name_stands_there_once():
    at_the_top = [signature.partition("(")[0] for signature in SIGNATURES] + named_in(TABLES[0])
    assert sorted(at_the_top) == sorted([*stackwarden.__all__, "__version__"])


def test_the_other_classes_of_errors_stand_there_once():
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert sorted(named_in(TABLES[1])) == sorted(classes - set(stackwarden.__all__))


@pytest.mark.parametrize("signature", [text for text in SIGNATURES if "(" in text])
def test_signatures_are_as_they_are(signature):
    public = getattr(stackwarden, signature.partition("(")[0])
    try:
        real = inspect.signature(public)
    except ValueError:  # compiled classes have none
        return
    bare = [one.replace(annotation=one.empty) for one in real.parameters.values()]
    text = str(inspect.Signature(bare))
    shown = "(" + signature.partition("(")[2]
    assert ast.dump(ast.parse(f"lambda {shown[1:-1]}: 0")) == ast.dump(
        ast.parse(f"lambda {text[1:-1]}: 0")
    )


@pytest.mark.parametrize("table", TABLES, ids=["at the top", "in errors"])
def test_the_tables_name_what_a_class_is_derived_from(table):
    for name, bases in re.findall(r"^\| (\w+) \| ([\w, ]*) ?\|", table, re.MULTILINE):
        derived_from = {base.__name__ for base in getattr(errors, name).__bases__}
        assert derived_from - {"StackwardenError"} == set(
            filter(None, bases.strip().split(", "))
        ), name


def test_every_key_of_status_stands_there_with_its_line():
    from stackwarden._types import meanings

    assert re.findall(
        r"^\| `(\w+)` \| (.*) \|$", TEXT.partition("### `status()`")[2], re.MULTILINE
    ) == list(meanings().items())
