"""The proof on a system that nobody here wrote: Ray 2.56.1 on CPython 3.14, whose async actors leak.

An async actor's method returns ``self.x``, a few hundred calls in flight; the reference count of ``self.x`` says
how many references the calls left behind. ``MALLOC_ARENA_MAX=1`` puts the fibers' stacks below the thread's own:
without it the leak comes and goes, so the unprotected twin has it.
"""

import json
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

import children
import commands
import sessions
from availability import unavailable

if sys.version_info[:2] != (3, 14):
    pytest.skip("Ray 2.56.1 has the defect on CPython 3.14 alone", allow_module_level=True)

CALLS, IN_FLIGHT, SECONDS = 3000, 300, 200
BELOW = {"MALLOC_ARENA_MAX": "1"}

PROGRAM = """
import json, sys, time
import ray

calls, in_flight, folder, how = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
runtime_env = None
if how == "runtime_env":
    from stackwarden.adapters.ray import report, runtime_env as made
    runtime_env = made()
ray.init(
    num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=80 << 20,
    _node_ip_address="127.0.0.1", _temp_dir=folder, runtime_env=runtime_env,
)

@ray.remote(num_cpus=0)
class Holder:
    def __init__(self):
        self.x = ["held"]
    async def get(self):
        return self.x
    async def count(self):
        return sys.getrefcount(self.x)

def held(actor, before):
    # References more than before; the last calls may let go of theirs a moment after their results came.
    for _ in range(50):
        more = ray.get(actor.count.remote()) - before
        if more == 0:
            break
    return more

actors = []  # alive until they were reported

def grown(**options):
    actor = Holder.options(**options).remote()
    actors.append(actor)
    ray.get([actor.get.remote() for _ in range(10)])
    before = ray.get(actor.count.remote())
    begun = time.perf_counter()
    for _ in range(calls // in_flight):
        ray.get([actor.get.remote() for _ in range(in_flight)])
    spent = time.perf_counter() - begun
    return held(actor, before), round(calls / spent)

found = {"default": grown(), "max_concurrency 100": grown(max_concurrency=100)}
if how == "runtime_env":
    found["report"] = report()
print(json.dumps(found))
"""


@cache
def ray_python() -> Path:
    """The Python of an environment that has Ray and the package."""
    try:
        return sessions.environment("ray", "3.14")
    except commands.HarnessError as error:
        unavailable("ray", str(error))


def run(how: str, **variables: str) -> dict:
    """What the program found: for each actor (references left behind, calls per second)."""
    python = ray_python()
    interposed = [python.with_name("stackwarden"), "exec", "--"] if how == "exec" else []
    folder = tempfile.mkdtemp(prefix="sw", dir="/tmp")  # sockets lie in it: paths must be short
    try:
        done = children.run(
            *(*interposed, python, "-c", PROGRAM, str(CALLS), str(IN_FLIGHT), folder, how),
            **variables,
            seconds=SECONDS,
            folder=folder,
            RAY_USAGE_STATS_ENABLED="0",
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_without_us_every_call_leaks():
    found = run("bare", **BELOW)
    assert found["default"][0] > CALLS
    assert found["max_concurrency 100"][0] > CALLS


@pytest.mark.slow
@pytest.mark.parametrize("variables", [BELOW, {}], ids=["below", "anywhere"])
@pytest.mark.parametrize("how", ["exec", "runtime_env"])
def test_interposed_no_call_leaks(how, variables):
    found = run(how, **variables)
    assert found["default"][0] == 0
    assert found["max_concurrency 100"][0] == 0
    if how == "runtime_env":
        check(found["report"])


def check(rows: list[dict]) -> None:
    """The report has every worker once, with its node; in those of the two actors something was mended."""
    assert len({row["node"] for row in rows}) == 1
    assert len({row["pid"] for row in rows}) == len(rows) >= 3
    assert {row["interposition"] for row in rows} == {"on"}
    assert sum(row["mended_entries"] > CALLS for row in rows) == 2
