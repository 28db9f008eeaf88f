"""stackwarden.testing: the conformance kit for those who write an adapter.

``check_adapter(run)`` is all a test needs to call; ``check_user_threads(run, interleave)`` for systems whose own
operating-system threads run the stacks. They use no test framework; what fails is an AssertionError.
"""

from stackwarden.testing.checks import DEFAULT_STACK_SIZES, PLACEMENTS
from stackwarden.testing.kit import check_adapter
from stackwarden.testing.user_threads import check_user_threads

__all__ = ["DEFAULT_STACK_SIZES", "PLACEMENTS", "check_adapter", "check_user_threads"]
