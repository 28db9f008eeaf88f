"""Fixtures: memory that is given back and mapped anew; each test ends on the native stack."""

import ctypes
import mmap

import pytest

import stackwarden

_MAP_FIXED, _PRIVATE_ANONYMOUS = 0x10, 0x22


@pytest.fixture(autouse=True)
def native_stack_afterwards():
    yield
    stackwarden.reset_stack()


@pytest.fixture
def several(area):
    """several(size): an area that is not one stack for certain, whoever looks: its lowest page is in use."""

    def get(size):
        base = area(size)
        ctypes.memset(base, 1, 1)
        return base

    return get


@pytest.fixture
def map_anew(probe):
    """map_anew(base, size): give memory back and get other memory at the same address."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
    ]

    def again(base, size, flags=0):
        probe.unmap_memory(base, size)
        protection = mmap.PROT_READ | mmap.PROT_WRITE
        fresh = libc.mmap(base, size, protection, _PRIVATE_ANONYMOUS | _MAP_FIXED | flags, -1, 0)
        assert fresh == base

    return again
