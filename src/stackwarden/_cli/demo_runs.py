"""The child processes of the demo: which there are, running them, judging how they ended.

Promises: at most two run side by side, each has a time limit, and none outlives the call.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import NamedTuple

from stackwarden.testing import child
from stackwarden.testing.workloads import WORKLOADS, Workload

SIDE_BY_SIDE = 2


class Job(NamedTuple):
    """One child process."""

    name: str
    placement: str
    protected: bool

    @property
    def workload(self) -> Workload:
        return WORKLOADS[self.name]

    def __str__(self) -> str:
        how = "with stackwarden" if self.protected else "CPython alone"
        return f"{self.workload.title}, stack {self.placement}, {how}"


JOBS = [
    Job(name, placement, protected)
    for name in WORKLOADS
    for placement in child.PLACEMENTS
    for protected in (False, True)
]

Tell = Callable[[Job, child.End], None]


class Runs(dict[Job, child.End]):
    """How each child ended."""

    def is_right(self, job: Job) -> bool:
        return self[job].outcome == job.workload.expected

    def all_right(self) -> bool:
        return all(self.is_right(job) for job in self if job.protected)


def run_all(stack_size: int, tell: Tell) -> Runs:
    """Run all jobs; tell of each child that has ended."""
    ends = {}
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    try:
        running = {pool.submit(_run, job, stack_size): job for job in JOBS}
        for future in as_completed(running):
            job = running[future]
            ends[job] = future.result()
            tell(job, ends[job])
    finally:
        pool.shutdown(cancel_futures=True)
    return Runs((job, ends[job]) for job in JOBS)


def _run(job: Job, stack_size: int) -> child.End:
    return child.wait(
        child.start(
            job.name, placement=job.placement, stack_size=stack_size, protected=job.protected
        )
    )
