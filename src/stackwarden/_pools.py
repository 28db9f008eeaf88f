"""Executors on thread pools of others.

Promises: the interface and the manners of ``concurrent.futures``; Python runs in the pool's threads with right
bounds, on stacks that are large enough for it. Of the pool nothing is known but one function that takes a callable
and calls it later in one of its threads, whoever made those and whatever stacks they have. There is no lock: every
change is one step that no other thread, no signal handler and no fork can divide.
"""

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from concurrent.futures.thread import BrokenThreadPool
from contextvars import Context, copy_context
from functools import partial
from itertools import count
from typing import Any, NoReturn, SupportsIndex, TypeVar

from stackwarden._calls import _call_synced
from stackwarden._core import _adopt_worker, _begin_task, _is_alive
from stackwarden._latch import Latch
from stackwarden._settings import settings
from stackwarden._status import PROTECTION
from stackwarden.callables import refuse_unless_run
from stackwarden.errors import ThreadPoolError
from stackwarden.sizes import size_of

R = TypeVar("R")

_WAYS = ("submit", "post", "enqueue", "execute", "dispatch", "spawn", "apply_async")
"""Names of methods that take a callable, the first that is there is used."""

_MEETING = 5.0
"""Seconds that workers wait for each other at the end: one may be busy with what others gave the pool."""

_LOGGER = logging.getLogger("concurrent.futures")


def wrap_thread_pool(
    pool: object,
    *,
    name: str | None = None,
    min_stack: SupportsIndex | str | None = None,
    initializer: Callable[..., object] | None = None,
    initargs: Iterable[Any] = (),
    teardown: Callable[[], object] | None = None,
) -> Executor:
    """An executor whose tasks run in the threads of ``pool``.

    ``pool``: an executor of concurrent.futures, a thread pool of gevent, or anything with a method ``submit``,
    ``post``, ``enqueue``, ``execute``, ``dispatch``, ``spawn`` or ``apply_async`` that takes a callable without
    arguments; or such a function itself. It is not shut down with the executor.

    ``name`` is that of the workers' stacks in ``stacks()``. A task that arrives where fewer than ``min_stack``
    bytes are left, or where nobody knows how many, runs on a pooled stack (by default: the setting
    ``min-stack``, else ``status()["exact_stack_size"]``).

    ``initializer(*initargs)`` is called in each worker before its first task; when it raises, the executor is
    broken. ``teardown()`` is called in each worker when the executor is shut down and its tasks are over; the
    workers wait there for each other, for 5 seconds at most.

    Raises ThreadPoolError when nothing of the pool takes a callable.
    """
    least = settings().get("min-stack", PROTECTION["exact_stack_size"])
    if min_stack is not None:
        least = size_of(min_stack, "min_stack")
    for name_of_hook, hook in (("initializer", initializer), ("teardown", teardown)):
        if hook is not None:
            refuse_unless_run(name_of_hook, hook)
    initialize = None if initializer is None else partial(initializer, *initargs)
    return _Wrapped(_way_into(pool), name or _name_of(pool), least, initialize, teardown)


def _way_into(pool: object) -> Callable[[Callable[[], None]], object]:
    for name in _WAYS:
        method = getattr(pool, name, None)
        if callable(method):
            return method  # type: ignore[no-any-return]
    if callable(pool):
        return pool
    raise ThreadPoolError(
        f"{pool!r} is not callable and has none of the methods {', '.join(_WAYS)}"
    )


def _name_of(pool: object) -> str:
    return getattr(pool, "__name__", None) or type(pool).__name__


class _Wrapped(Executor):
    """What wrap_thread_pool() returns."""

    def __init__(
        self,
        way: Callable[["_Task"], object],
        name: str,
        least: int,
        initialize: Callable[[], object] | None,
        teardown: Callable[[], object] | None,
    ) -> None:
        self._way = way
        self._name = name
        self._least = least
        self._initialize = initialize
        self._teardown = teardown
        self._numbers = count(1)
        self._contexts: dict[int, Context] = {}  # by worker; what its initializer left
        self._pending: set[Future[Any]] = set()
        self._broken: BrokenThreadPool | None = None
        self._is_shut_down = False
        self._endings = [None]  # whoever takes it ends the executor
        self._is_over = Latch()

    def __repr__(self) -> str:
        return f"<executor on the thread pool {self._name!r}, {len(self._contexts)} workers seen>"

    # ---- handing over ----

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        future: Future[R] = Future()
        future.add_done_callback(self._forget)
        try:
            self._pending.add(future)  # before the questions: shutdown() goes the other way round
            if self._broken is not None:
                raise BrokenThreadPool(*self._broken.args)
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")
            work = partial(self._work, future, partial(fn, *args, **kwargs))
            theirs = self._give(work, future)
        except BaseException:
            future.cancel()
            raise
        if isinstance(theirs, Future):
            theirs.add_done_callback(partial(_follow, future))
        return future

    def _give(self, work: Callable[[int], None], future: Future[Any] | None = None) -> object:
        return self._way(_Task(work, self._least, future))

    def _forget(self, future: Future[Any]) -> None:
        self._pending.discard(future)
        self._end_when_done()

    # ---- in a worker ----

    def _work(self, future: Future[Any], call: Callable[[], Any], worker: int) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = self._context_of(worker).copy().run(call)
        except BaseException as error:
            traceback = error.__traceback__.tb_next if error.__traceback__ else None
            future.set_exception(
                error.with_traceback(traceback)
            )  # this frame, which holds the future, left out
        else:
            future.set_result(result)

    def _context_of(self, worker: int) -> Context:
        if self._broken is not None:
            raise BrokenThreadPool(*self._broken.args)
        context = self._contexts.get(worker)
        if context is None:
            context = self._adopt(worker)
        return context

    def _adopt(self, worker: int) -> Context:
        """A worker that is seen for the first time."""
        context = copy_context()
        for known in list(self._contexts):
            if not _is_alive(known):
                self._contexts.pop(known, None)
        if not _adopt_worker(worker, f"{self._name} {next(self._numbers)}".encode()):
            raise MemoryError("stackwarden: no memory for a stack's name")
        try:
            if self._initialize is not None:
                context.run(self._initialize)
        except BaseException:
            _LOGGER.critical("Exception in initializer:", exc_info=True)
            self._broken = BrokenThreadPool(
                "an initializer failed, the executor is not usable any more"
            )
            raise self._broken from None
        self._contexts[worker] = context
        return context

    # ---- ending ----

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._is_shut_down = True
        if cancel_futures:
            for future in list(self._pending):
                future.cancel()
        self._end_when_done()
        if wait:
            self._is_over.wait()

    def _end_when_done(self) -> None:
        """After the last task, have each worker call teardown."""
        if not self._is_shut_down or self._pending:
            return
        try:
            if self._endings:
                self._endings.pop()
                self._say_farewell()
        except IndexError:  # somebody else ends it
            return
        except BaseException:
            self._is_over.open()  # their pool takes no more, or there is no memory: nobody is to wait for it
            raise

    def _say_farewell(self) -> None:
        workers = {one: context for one, context in list(self._contexts.items()) if _is_alive(one)}
        if self._teardown is None or not workers:
            self._is_over.open()
            return
        farewell = _Farewell(workers, self._teardown, self._is_over, self._give)
        for _ in range(len(workers)):  # those who come take themselves out
            self._give(farewell)


class _Task:
    """What a pool is given: to be called once, with whatever arguments, in any of its threads."""

    def __init__(
        self, work: Callable[[int], None], least: int, future: Future[Any] | None = None
    ) -> None:
        self._work: Callable[[int], None] | None = work
        self._least = least
        self._future = future

    def __call__(self, *_: object) -> None:
        try:
            _call_synced(self._least, self._run, (_begin_task(),), {})
        except BaseException as error:
            if self._future is None or self._future.done():
                raise
            self._future.set_exception(error)  # there was no stack for it

    def _run(self, worker: int) -> None:
        """Where there is room. What the task holds is dropped here: elsewhere it may wait in the trashcan."""
        work, self._work = self._work, None
        if work is not None:
            work(worker)
        self._future = None

    def __reduce__(self) -> NoReturn:
        raise ThreadPoolError("what was given as a thread pool runs its tasks in another process")


def _follow(ours: Future[Any], theirs: Future[Any]) -> None:
    """What their executor did not run, because it is broken or was told to cancel, ends here too."""
    if theirs.cancelled():
        ours.cancel()
    elif theirs.exception() is not None and not ours.done():
        ours.set_exception(theirs.exception())


class _Farewell:
    """What each worker does last: it calls teardown, and waits for the others, so that none comes twice."""

    def __init__(
        self,
        workers: dict[int, Context],
        teardown: Callable[[], object],
        is_over: Latch,
        give: Callable[["_Farewell"], object],
    ) -> None:
        self._expected = workers
        self._teardown = teardown
        self._is_over = is_over
        self._give = give
        self._met = Latch()

    def __call__(self, worker: int) -> None:
        context = self._expected.pop(worker, None)
        if context is not None:
            self._say(context)
        else:
            self._give(self)  # this was meant for somebody else
        if self._all_came():
            self._met.open()
        elif not self._met.wait(_MEETING):
            _LOGGER.warning("teardown was not called in %d workers", len(self._expected))
        self._is_over.open()

    def _say(self, context: Context) -> None:
        try:
            context.run(self._teardown)
        except BaseException:
            _LOGGER.critical("Exception in teardown:", exc_info=True)

    def _all_came(self) -> bool:
        return not any(map(_is_alive, list(self._expected)))
