"""Requests of blocks of code: making one, finding it by its token, ending it.

Promises: each request ends on its own, in whatever order and on whatever thread. A token names its request alone:
once that has ended it names nothing.
"""

from libc.stdlib cimport calloc
from libc.string cimport memset

from records.guard cimport *
from stackwarden cimport stackwarden_request


cdef inline sw_request *make_request(sw_request **list, stackwarden_request *token) noexcept nogil:
    """A new request at the head of a list, and its token; NULL: no memory. Under sw_lock() until it is filled."""
    cdef sw_request *request = sw_process.free_requests
    if request != NULL:
        sw_process.free_requests = request.next
    else:
        request = <sw_request *>calloc(1, sizeof(sw_request))
    if request != NULL:
        memset(request, 0, sizeof(sw_request))
        sw_process.request_id += 1
        request.id = sw_process.request_id
        request.next = list[0]
        list[0] = request
        token.id = request.id
        token.place = request
    return request


cdef inline sw_request *request_of(const stackwarden_request *token) noexcept nogil:
    """The request that a token names; NULL: it has ended, or there was none."""
    cdef sw_request *request = <sw_request *>token.place
    return request if token.id and request != NULL and request.id == token.id else NULL


cdef inline void free_request(sw_request *request) noexcept nogil:
    """Under sw_lock()."""
    request.id = 0
    request.next = sw_process.free_requests
    sw_process.free_requests = request


cdef inline void remove_request(sw_request **list, sw_request *request) noexcept nogil:
    """Remove a request from its list, if that is still there, and free it. Under sw_lock()."""
    while list[0] != NULL and list[0] is not request:
        list = &list[0].next
    if list[0] != NULL:
        list[0] = request.next
    free_request(request)


cdef inline void end_requests(sw_request **list) noexcept nogil:
    """Free all requests of a list: its owner has ended. Under sw_lock()."""
    cdef sw_request *request
    while list[0] != NULL:
        request = list[0]
        list[0] = request.next
        free_request(request)
