"""The program: run the machine, in examples that are always the same, or in others for each seed.

Command line:
    PYTHONPATH=(cpython_bounds) python tests/nets/model.py EXAMPLES STEPS [--seed N] [--waiting] [--plant FAULT]

It prints each step before it does it: the last lines are those of the example that failed, or in which the process
died. A fault that is planted must be found.
"""

import argparse
import faulthandler

import planted
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from limit_rules import Limits
from waiting_rules import Dropped

MINUTES = 25  # a step that hangs is shown then

# All that holds: the classes that these stand on are machines, too.
RULES = (Limits,)

# What does not hold yet, or is not known: coroutines that another thread drops, which end later, and
# callbacks hear of it then. In stack_rules.py: blocks on a stack that another thread has; blocks in
# coroutines and in calls. Where calls are counted: isolation "thread-state" (fiber_rules.py), for a sync
# there forgets the calls in use, and on 3.11 a limit (limit_rules.py), which changes how many calls remain.
WAITING = (Dropped,)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("examples", type=int)
    parser.add_argument("steps", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--waiting", action="store_true")
    parser.add_argument("--plant", choices=planted.FAULTS)
    told = parser.parse_args()
    faulthandler.dump_traceback_later(60 * MINUTES, exit=True)
    machine = type("Model", WAITING if told.waiting else RULES, {})
    if told.seed is not None:
        machine = seed(told.seed)(machine)
    if told.plant:
        planted.FAULTS[told.plant]()
    how = settings(
        max_examples=told.examples,
        stateful_step_count=told.steps,
        deadline=None,
        derandomize=told.seed is None,
        database=None,
        # A shorter one would be nice to have, and takes minutes.
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=how)


if __name__ == "__main__":
    main()
