"""Sizes as people write them.

Promises: bytes (int); or an error that names the parameter and has what was given in it: a ValueError of our own,
or a TypeError.
"""

import re
from typing import SupportsIndex

from stackwarden._contract import check_size
from stackwarden.errors import StackRangeError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FORM = re.compile(r"\s*(\d{1,20})\s*([KMGT]?)(?:i?B)?\s*", re.ASCII | re.IGNORECASE)


def size_of(size: SupportsIndex | str, what: str = "size") -> int:
    """Bytes: an integer as it is, or a text such as "65536", "256K", "512M" or "4GiB" (powers of 1,024).

    Raises StackRangeError outside of 1 to 2**40 (1T) and for a text that is no size; TypeError for what is
    neither, and for True and False.
    """
    if isinstance(size, str):
        form = _FORM.fullmatch(size)
        if form is None:
            raise StackRangeError(f"{what} {size!r}: not a size; write 65536, 256K, 512M or 4G")
        size = int(form[1]) * _UNITS[form[2].upper()]
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise TypeError(
            f'{what} must be bytes (int) or a text such as "512M", not {type(size).__name__}: {size!r}'
        )
    return check_size(size, what)
