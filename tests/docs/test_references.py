"""What the documents refer to exists: files, targets of make, names in the code."""

import re
from pathlib import Path

import pytest

import paths

CHECKOUT = paths.CHECKOUT
DOCUMENTS = [
    *sorted(CHECKOUT.glob("*.md")),
    *sorted(CHECKOUT.glob("docs/**/*.md")),
    *sorted(CHECKOUT.glob("adapters/**/*.md")),
    *sorted(CHECKOUT.glob("tests/**/*.md")),
]
SOURCES = [
    path
    for folder in ("src", "cython_src", "adapters", "tests")
    for path in (CHECKOUT / folder).rglob("*")
    if path.suffix in {".h", ".hpp", ".c", ".pxd", ".pxi", ".pyx", ".py", ".pyi"}
]

each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(CHECKOUT)) for path in DOCUMENTS]
)


def quoted(document: Path) -> list[str]:
    """All that stands between single backticks outside of blocks of code."""
    text = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


@each_document
def test_links_lead_to_files(document):
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    files = [link for link in links if "://" not in link]
    missing = [link for link in files if not (document.parent / link).exists()]
    assert missing == []


@each_document
def test_files_that_are_named_exist(document):
    top = {path.name for path in CHECKOUT.iterdir()}
    paths = [name for name in quoted(document) if name.partition("/")[0] in top and "/" in name]
    missing = [path for path in paths if not list(CHECKOUT.glob(path.rstrip("/")))]
    assert missing == []


@each_document
def test_targets_of_make_that_are_named_exist(document):
    targets = re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"\bmake ([a-z-]+)", " ".join(quoted(document)))
    assert set(named) <= set(targets)


@each_document
def test_names_of_the_core_that_are_named_exist(document):
    code = "\n".join(path.read_text() for path in SOURCES)
    known = set(re.findall(r"\w+", code))
    pattern = r"\b(?:sw_|swpy_|SW_|stackwarden_|STACKWARDEN_)\w+"
    named = re.findall(pattern, " ".join(quoted(document)))
    assert set(named) - known == set()


def test_the_walks_lead_through_the_functions_that_they_name():
    """docs/internals.md: a station is a file, then functions there. All names on the page are in the code."""
    page = CHECKOUT / "docs" / "internals.md"
    stations = re.findall(r"^\d+\. `([^`]+)`((?:,\s+`\w+`)+)", page.read_text(), re.MULTILINE)
    assert len(stations) == 6 + 9 + 6
    for name, functions in stations:
        (file,) = [path for path in SOURCES if path.as_posix().endswith(f"/{name}")]
        missing = set(re.findall(r"\w+", functions)) - set(re.findall(r"\w+", file.read_text()))
        assert missing == set(), file
    known = set(re.findall(r"\w+", "\n".join(path.read_text() for path in SOURCES)))
    assert {name for name in quoted(page) if re.fullmatch(r"\w*_\w*", name)} - known == set()


def test_files_that_comments_name_exist():
    """In the compiled code and the headers: a file of the project's, or one of others' that is listed here."""
    known = {path.name for path in CHECKOUT.rglob("*.*") if ".venv" not in path.parts}
    headers = {"Python.h", "pyport.h", "ucontext.h", "fs.h", "fcontext.hpp", "ceval.c"}
    for path in SOURCES:
        if path.is_relative_to(CHECKOUT / "tests") or path.suffix in {".py", ".pyi"}:
            continue
        text = re.sub(r"#\s*include[^\n]*|from \"[^\n]*", "", path.read_text())
        named = set(re.findall(r"\b\w+\.(?:h|c|pxd|pxi|pyx|hpp|cpp)\b", text))
        assert named <= known | headers, path
