"""The parts of the harness that decide, tried without downloading anything."""

import json
import re
from pathlib import Path

import pytest

import availability
import cache
import children
import commands
import debian
import interpreters
import verdicts

KEYS = "/usr/share/keyrings/keys.gpg"


def test_apt_sources_are_read_in_both_formats():
    stanzas = f"""\
# a comment
Types: deb deb-src
URIs: mirror:/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: {KEYS}

Types: deb-src
URIs: mirror:/sources
Suites: bookworm
"""
    lines = f"""\
# deb mirror:/off bookworm main
deb [arch=amd64 signed-by={KEYS}] mirror:/debian bookworm main
deb-src mirror:/sources bookworm main
"""
    (from_stanzas,) = debian._parse_stanzas(stanzas)
    (from_lines,) = debian._parse_lines(lines)
    assert from_stanzas.mirror == from_lines.mirror == "mirror:/debian"
    assert from_stanzas.signed_by == from_lines.signed_by == KEYS
    assert from_stanzas.suites == {"bookworm", "bookworm-updates"}
    assert from_lines.suites == {"bookworm"}


def test_compilers_and_c_headers_are_left_out(monkeypatch):
    monkeypatch.setattr(debian, "own_release", lambda: "bookworm")
    closure = ["libc6", "libc6-dev", "gcc-16-base", "libgcc-16-dev", "libgcc-s1", "zlib1g-dev"]
    assert debian._wanted(closure, "sid") == ["libc6", "libgcc-s1", "zlib1g-dev"]
    assert debian._wanted(closure, "bookworm") == ["zlib1g-dev"]
    assert debian._wanted([*closure, "dpkg", "perl-base"], "bullseye") == ["zlib1g-dev"]


def test_a_folder_whose_making_failed_is_made_again(tmp_path):
    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise commands.HarnessError("interrupted")

    with pytest.raises(commands.HarnessError, match="interrupted"):
        cache.make_once(tmp_path / "made", fail)
    assert not (tmp_path / "made").exists()

    made = cache.make_once(tmp_path / "made", lambda folder: (folder / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]
    assert cache.make_once(tmp_path / "made", fail) == made


def test_a_program_of_the_right_name_that_fails_is_no_interpreter(tmp_path):
    program = tmp_path / "python3.14"
    program.write_text("#!/bin/sh\necho 'version 3.14 is not switched on' >&2\nexit 127\n")
    program.chmod(0o755)
    assert interpreters._executable(program, "3.14") is None


@pytest.mark.parametrize(
    ("ci", "listed", "outcome"),
    [
        ("", "", pytest.skip.Exception),
        ("true", "", pytest.fail.Exception),
        ("true", 'gadget = "sold out"', pytest.skip.Exception),
    ],
)
def test_ci_skips_only_for_systems_that_are_listed(monkeypatch, tmp_path, ci, listed, outcome):
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(availability, "LISTED", tmp_path / "unavailable.toml")
    availability.LISTED.write_text(listed)
    with pytest.raises(outcome, match="gadget cannot be had"):
        availability.unavailable("gadget", "none was found")


@pytest.mark.parametrize(
    ("ended_well", "cases", "verdict"),
    [
        (True, "<testcase/><testcase><skipped/></testcase>", ("1 passed 1 skipped", True, ())),
        (True, '<testcase><skipped type="pytest.xfail"/></testcase>', ("1 xfailed", False, ())),
        (
            False,
            '<testcase/><testcase classname="a" name="b"><failure message="1&#10;2"/></testcase>',
            ("1 failed 1 passed", False, ("a::b: 1",)),
        ),
        (False, "<testcase/>", ("1 passed", False, ())),
        (False, "", ("no tests", False, ())),
    ],
)
def test_a_run_succeeds_only_if_a_test_passed(tmp_path, ended_well, cases, verdict):
    report = tmp_path / "report.xml"
    suite = f'<testsuite name="3.14.9">{cases}</testsuite>'
    report.write_text(f"<testsuites>{suite}</testsuites>")
    assert verdicts.of_session("3.14", ended_well, report) == ("3.14.9", *verdict)


@pytest.mark.parametrize(("ended_well", "said"), [(False, "no result"), (None, "out of time")])
def test_a_run_that_reported_nothing_is_no_success(tmp_path, ended_well, said):
    verdict = verdicts.of_session("3.14", ended_well, tmp_path / "none.xml")
    assert verdict == ("3.14", said, False, ())


def test_the_last_line_says_what_ran_where_and_whether_all_is_green():
    good = verdicts.Verdict("3.11.7", "9 passed", succeeded=True)
    bad = verdicts.Verdict("3.15", "no result", succeeded=False)
    assert verdicts.line([good]) == "stackwarden: 3.11.7 9 passed : all green"
    said = "stackwarden: 3.11.7 9 passed | 3.15 no result : NOT GREEN"
    assert verdicts.line([good, bad]) == said


def test_before_it_each_failure_has_a_line():
    good = verdicts.Verdict("3.11.7", "9 passed", succeeded=True)
    bad = verdicts.Verdict(
        "3.15.2", "2 failed", succeeded=False, failures=("a::b: why", "c::d: why")
    )
    assert verdicts.failures([good, bad]) == ["3.15.2 FAILED a::b: why", "3.15.2 FAILED c::d: why"]


def test_nox_says_which_sessions_ended_well(tmp_path):
    report = tmp_path / "report.json"
    assert verdicts.ended_well(report) == {}
    sessions = [{"name": "one", "result": "success"}, {"name": "other", "result": "failed"}]
    report.write_text(json.dumps({"sessions": sessions}))
    assert verdicts.ended_well(report) == {"one": True, "other": False}


def test_a_child_that_ends_otherwise_than_it_must_fails_the_test_with_what_it_said():
    with pytest.raises(AssertionError, match=r"ended with 3\nout\nerrors"):
        children.run_python("import sys; print('out'); print('errors', file=sys.stderr); exit(3)")
    children.run_python("exit(3)", ends=3)


def test_a_child_sees_none_of_our_variables_but_those_it_is_given(unchecked, monkeypatch):
    monkeypatch.setenv("STACKWARDEN_POLICY", "disabled")
    program = "import os; print([name for name in os.environ if name.startswith('STACKWARDEN')])"
    assert children.run_python(program, STACKWARDEN_X="1").stdout == "['STACKWARDEN_X']\n"


def test_the_readme_names_every_file():
    here = Path(__file__).parent
    named = re.findall(r"^\| `(\w+\.py)` \|", (here / "README.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(path.name for path in here.glob("*.py"))
