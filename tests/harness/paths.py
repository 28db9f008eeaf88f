"""Where things are in the checkout."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TESTS = CHECKOUT / "tests"
SHARED = TESTS / "extensions"
"""The extension modules that several folders of tests use."""
