"""Sizes as people write them.

Promises: bytes (int), or a ValueError of our own with the text in it.
"""

import re
from operator import index
from typing import SupportsIndex

from stackwarden.errors import StackRangeError

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_FORM = re.compile(r"\s*(\d+)\s*([KMG]?)(?:i?B)?\s*", re.ASCII | re.IGNORECASE)


def size_of(size: SupportsIndex | str, what: str = "size") -> int:
    """Bytes: an integer as it is, or a text such as "65536", "256K", "512M" or "4GiB" (powers of 1,024).

    Raises StackRangeError outside of 1 to 2**47 - 1 and for a text that is no size; TypeError for what is neither.
    """
    if isinstance(size, str):
        form = _FORM.fullmatch(size)
        if form is None:
            raise StackRangeError(f"{what} {size!r}: not a size; write 65536, 256K, 512M or 4G")
        size = int(form[1]) * _UNITS[form[2].upper()]
    size = index(size)
    if not 0 < size < 2**47:
        raise StackRangeError(f"{what} of {size} bytes: must be between 1 and 2**47 - 1")
    return size
