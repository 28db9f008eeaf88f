"""Fixtures: memory between pages that cannot be touched, so that it does not merge with anybody's."""

import ctypes
import mmap

import pytest

import stackwarden

PAGE = mmap.PAGESIZE
_MAP_FIXED, _PRIVATE_ANONYMOUS = 0x10, 0x22


@pytest.fixture(autouse=True)
def native_stack_afterwards():
    yield
    stackwarden.reset_stack()


@pytest.fixture
def area(probe):
    """area(size): the address of fresh memory with a page on either side that cannot be touched."""
    mapped = []

    def get(size):
        whole = size + 2 * PAGE
        mapped.append((probe.map_memory(whole), whole))
        low = mapped[-1][0] + PAGE
        probe.forbid(low - PAGE, PAGE)
        probe.forbid(low + size, PAGE)
        return low

    yield get
    for base, size in mapped:
        probe.unmap_memory(base, size)


@pytest.fixture
def map_anew(probe):
    """map_anew(base, size): give memory back and get other memory at the same address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    ]

    def again(base, size):
        probe.unmap_memory(base, size)
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        fresh = libc.mmap(base, size, protection, _PRIVATE_ANONYMOUS | _MAP_FIXED, -1, 0)
        assert fresh == base

    return again
