"""The whole Python interface against a model: threads and coroutines, blocks that begin and end in any order.

The machine runs in a process of its own, which prints each step before it does it. In `make matrix` it is longer
and random; its seed is in the failure.
"""

import os
import random
import re
from pathlib import Path

import pytest

import children

MODEL = Path(__file__).with_name("model.py")
FAULTS = (  # planted.py
    "former_policy_is_put_back",
    "former_stack_is_put_back",
    "block_ends_on_its_own_thread_alone",
    "budget_does_not_end",
)
SIGSEGV = -11
LAST = 80  # lines of a process that failed


def run(probe_folder, *arguments, ends=0, seconds=300):
    """Its lines; what failed shows the last ones, and how to run it again."""
    done = children.run_python(
        MODEL, arguments=arguments, ends=None, seconds=seconds, PYTHONPATH=str(probe_folder)
    )
    lines = done.stdout.splitlines()
    assert done.returncode == ends, "\n".join(
        [
            f"ended with {done.returncode}: model.py {' '.join(arguments)}",
            *lines[-LAST:],
            done.stderr[-8000:],
        ]
    )
    return lines, done.stderr


@pytest.mark.timeout(1600)
def test_the_interface_does_what_the_model_does(probe_folder):
    if os.environ.get("STACKWARDEN_MATRIX") == "full":
        seed = str(random.randrange(2**32))
        print(f"seed {seed}")
        run(probe_folder, "3000", "60", "--seed", seed, seconds=1500)
    else:
        run(probe_folder, "300", "30")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_planted_is_found(probe_folder, fault):
    lines, _ = run(probe_folder, "300", "30", "--plant", fault, ends=1)
    assert any(line.startswith("  failed: AssertionError") for line in lines)


def test_a_process_that_dies_names_the_step(probe_folder):
    lines, errors = run(probe_folder, "300", "30", "--plant", "process_dies", ends=SIGSEGV)
    assert re.match(r"  (\w+_budget\w*\(|the end)", lines[-1])
    assert "Segmentation fault" in errors
