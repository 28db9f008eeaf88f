"""Pyodide brings its own Python: one run of its test is enough, under the newest interpreter."""

import sys

import interpreters

NEWEST = tuple(map(int, interpreters.SUPPORTED[-1].split(".")))
collect_ignore = [] if sys.version_info[:2] == NEWEST else ["test_pyodide.py"]
