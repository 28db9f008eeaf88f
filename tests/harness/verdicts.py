"""What came of a run of the tests, from nox's report and pytest's."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

FAILURE_AT_MOST = 300  # characters


class Verdict(NamedTuple):
    """Under which release tests ran, how many of each outcome there were, whether all went well, what failed."""

    python: str
    summary: str
    succeeded: bool
    failures: tuple[str, ...] = ()


def of_session(version: str, ended_well: bool | None, report: Path) -> Verdict:
    """A run succeeded if its session did, which is None when the time was up, and a test passed."""
    if not report.exists():
        return Verdict(version, "out of time" if ended_well is None else "no result", False)
    (suite,) = ElementTree.parse(report).iter("testsuite")
    counts = Counter(map(_outcome, suite.iter("testcase")))
    summary = " ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
    succeeded = bool(ended_well) and counts["passed"] > 0
    failures = tuple(
        _failure(case) for case in suite.iter("testcase") if _outcome(case) == "failed"
    )
    return Verdict(suite.get("name", version), summary or "no tests", succeeded, failures)


def _failure(case: ElementTree.Element) -> str:
    """The test's name, and the first line of why it failed."""
    reasons = [
        reason.get("message", "") for kind in ("failure", "error") for reason in case.iter(kind)
    ]
    why = next(iter("".join(reasons).splitlines()), "")
    return f"{case.get('classname', '')}::{case.get('name', '')}: {why}"[:FAILURE_AT_MOST]


def _outcome(case: ElementTree.Element) -> str:
    skipped = case.find("skipped")
    if skipped is not None:
        return "xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"
    return "passed" if case.find("failure") is None and case.find("error") is None else "failed"


def failures(verdicts: Iterable[Verdict]) -> list[str]:
    """A line for each test that failed: what is cut short from above still has them all."""
    return [
        f"{verdict.python} FAILED {failure}" for verdict in verdicts for failure in verdict.failures
    ]


def ended_well(nox_report: Path) -> dict[str, bool]:
    """For each session that nox ran to its end, by its name."""
    if not nox_report.exists():
        return {}
    sessions = json.loads(nox_report.read_text())["sessions"]
    return {session["name"]: session["result"] == "success" for session in sessions}


def line(verdicts: Iterable[Verdict]) -> str:
    """What ran where, in one line."""
    verdicts = list(verdicts)
    what_ran = " | ".join(f"{verdict.python} {verdict.summary}" for verdict in verdicts)
    green = all(verdict.succeeded for verdict in verdicts)
    return f"stackwarden: {what_ran} : {'all green' if green else 'NOT GREEN'}"
