"""The end of a record.

Promises: one way, whoever asks: unregister, a new range in its place, the end of its thread, a registration that
failed half-way. All that belongs to the record ends with it. What only an attached thread can release becomes an
orphan (executions.pxd).
"""

from records.execution cimport *
from records.executions cimport end_execution, is_suspended, release_orphans
from records.guard cimport *
from records.index cimport remove_record
from records.protection cimport *
from records.records cimport free_record, stale_handles, sw_take_retired
from stackwarden cimport STACKWARDEN_DETACHED, STACKWARDEN_DONE, STACKWARDEN_INTERRUPTED, stackwarden_status


cdef inline bint holds_frames(const sw_record *record) noexcept nogil:
    """Was the stack suspended in the middle of Python? Those of a stack without isolation belong to a chain that
    may be resumed."""
    if record.isolation != SW_SHARED:
        return is_suspended(record.execution)
    return record.indexed and record.frame_tag != 0


cdef inline void end_record(sw_record *record) noexcept nogil:
    """End a record; NULL: there is none. Requires: it was retired, or is in no index. Under sw_lock()."""
    if record == NULL:
        return
    stale_handles(record)
    if record.isolation != SW_SHARED:
        end_execution(record.execution)
    elif holds_frames(record):
        sw_count(&sw_process.leaked)
    remove_record(record)
    free_record(record)


cdef inline void sweep_retired() noexcept nogil:
    """End the records that were retired. Under sw_lock()."""
    cdef sw_record *record = sw_take_retired()
    cdef sw_record *next
    while record != NULL:
        next = sw_cold_of(record).next_retired
        end_record(record)
        record = next


cdef inline void end_retired() noexcept nogil:
    """The same, and takes the lock for it."""
    if not sw_lock():
        return
    sweep_retired()
    sw_unlock()


cdef inline void finish_ends() noexcept nogil:
    """What became of records without the lock, or detached. Requires: attached; may run Python."""
    end_retired()
    release_orphans()


cdef inline stackwarden_status sw_drain() noexcept nogil:
    """Empty CPython's trashcan (the objects whose deallocation it deferred), and release the orphans."""
    cdef PyThreadState *ts = swpy_attached() if sw_process.running else NULL
    if ts == NULL:
        return STACKWARDEN_DETACHED
    if sw_holds_lock():
        return STACKWARDEN_INTERRUPTED
    if swpy_has_trash(ts):
        sw_count(&sw_process.drained)
        swpy_drain_trashcan(ts)
    finish_ends()
    return STACKWARDEN_DONE
