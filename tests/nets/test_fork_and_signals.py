"""Signal handlers in Python, and forks, at random moments of every operation: nothing hangs, nothing is left.

The operations are in operations.py, what happens to each in moments.py. With STACKWARDEN_MATRIX=full longer, from
a seed that is printed.
"""

import os
import random
import re
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "moments.py"
FULL = os.environ.get("STACKWARDEN_MATRIX") == "full"
SECONDS = 2 if FULL else 0.05  # for each operation
LEAST = 100  # handlers that ran, or nothing was tested


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork, and no timer")
@pytest.mark.parametrize("what", ["raise", "operate", "fork"])
def test_a_handler_may_run_at_any_moment_of_any_operation(unchecked, child, what):
    seed = random.randrange(1 << 32) if FULL else 1
    said = child(PROGRAM, arguments=[what, str(seed), str(SECONDS)], seconds=280).stdout
    print(said)
    handlers, wrong = re.search(r"(\d+) handlers, (\d+) wrong\n$", said).groups()
    assert wrong == "0", said
    assert int(handlers) > LEAST, said
