"""What is compiled into the core has no warning, whatever CPython's headers make of it."""

import sys

import pytest

import c_units
import c_warnings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warnings are gcc's")


def test_the_cores_c_has_no_warning_with_the_headers_of_this_interpreter():
    units = [unit for unit in c_units.units() if unit.path.parts[0] == "cython_src"]
    assert len(units) > 10
    assert "".join(map(c_warnings.complaint, units)) == ""


def test_a_number_that_does_not_fit_is_a_complaint(tmp_path):
    source = tmp_path / "narrow.c"
    source.write_text("int narrow(long wide) { return wide; }\n")
    unit = c_units.Unit(source, is_c=True, flags=[])
    assert "-Werror=conversion" in c_warnings.complaint(unit)
