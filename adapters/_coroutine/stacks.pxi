"""The stacks of coroutines: registered for as long as they are mapped, and used again."""

from stackwarden.sizes cimport size_of


cdef extern from "stack.h" nogil:
    size_t memory_page()
    char *memory_map(size_t size)
    void memory_unmap(char *base, size_t size)


cdef class StackMemory:
    """A mapped and registered stack above a guard page, with execution state of its own."""

    cdef stackwarden.stackwarden_stack stack
    cdef object isolation

    def __cinit__(self, size_t size, isolation):
        cdef char *base = memory_map(size)
        if base == NULL:
            raise MemoryError(f"a stack of {size} bytes could not be mapped")
        self.isolation = isolation
        self.stack.base = <size_t>base
        self.stack.size = size
        _check(
            stackwarden.register_stack(
                base, size, NULL, CONTEXT_SYSTEM, _ISOLATIONS[isolation], &self.stack),
            f"a stack of {size} bytes")

    def __dealloc__(self):
        if self.stack.base and (
                not self.stack.handle
                or stackwarden.unregister_stack(self.stack.handle) != stackwarden.STACKWARDEN_LOST):
            memory_unmap(<char *>self.stack.base, self.stack.size)


_ISOLATIONS = {
    "frames": stackwarden.STACKWARDEN_ISOLATION_FRAMES,
    "thread-state": stackwarden.STACKWARDEN_ISOLATION_THREAD_STATE,
}
_EMPTY = Context()
POOLED_STACKS = 16  # of each size and isolation
_pool = {}


cdef size_t _whole_pages(stack_size) except 0:
    cdef size_t page = memory_page()
    return (size_of(stack_size, "stack_size") + page - 1) // page * page


cdef StackMemory _take_stack(size_t size, isolation):
    """A stack that is ready for a coroutine. One from the pool may have been unregistered by others."""
    cdef StackMemory stack
    free = _pool.get((size, isolation))
    while free:
        stack = free.pop()
        if stackwarden.renew_stack(stack.stack.handle, NULL) == stackwarden.STACKWARDEN_DONE:
            return stack
    stack = StackMemory(size, isolation)
    _check(stackwarden.renew_stack(stack.stack.handle, NULL), f"a stack of {size} bytes")
    return stack


cdef _give_back_stack(StackMemory stack):
    free = _pool.setdefault((stack.stack.size, stack.isolation), [])
    if len(free) < POOLED_STACKS:
        free.append(stack)
