"""Lets tests import the modules of tests/harness: `availability` has the rule for skips."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "harness"))
