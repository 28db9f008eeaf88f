"""stackwarden.testing: the conformance kit for those who write an adapter.

``check_adapter(run)`` is all a test needs to call. It uses no test framework; what fails is an AssertionError.
"""

from stackwarden.testing.kit import DEFAULT_STACK_SIZES, PLACEMENTS, check_adapter

__all__ = ["DEFAULT_STACK_SIZES", "PLACEMENTS", "check_adapter"]
