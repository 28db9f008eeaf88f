"""The checking mode in Python: it is turned on here, and what disagrees is a warning (_checking.py)."""


cdef int _report_contradictions(void *unused) except -1:
    """A pending call of CPython's: attached, between two instructions of the main thread."""
    cdef sw_contradiction *each
    while sw_checking.reported < sw_checking.noted:
        each = &sw_checking.contradictions[sw_checking.reported]
        sw_checking.reported += 1
        _warn_of_contradiction(
            (each.base, each.top), (each.found_base, each.found_top), each.sp, <uintptr_t>each.telling.caller,
            each.telling.site)
    return 0


_warn_of_contradiction = _python_site = None


def _check_tellings(warn, site):
    """For _policy.py: from now on, with the functions of _checking.py."""
    global _warn_of_contradiction, _python_site
    _warn_of_contradiction, _python_site = warn, site
    sw_checking.report = <int (*)(void *) noexcept nogil><void *>_report_contradictions
    sw_checking.on = True
    check_tellings(&sw_table)
    check_beacons()
