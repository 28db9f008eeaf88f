"""A small round-robin scheduler: tasks are plain functions, and pause() lets the next one run, from any depth."""

from collections import deque

from stackwarden.adapters.fcontext import Coroutine, suspend


class RoundRobin:
    """Runs tasks in turn until all of them are over."""

    def __init__(self):
        self._ready = deque()

    def spawn(self, function, *args):
        self._ready.append(Coroutine(function, *args))

    def run(self):
        while self._ready:
            task = self._ready.popleft()
            task.resume()
            if not task.done:
                self._ready.append(task)


pause = suspend


def countdown(name, number):
    while number:
        print(name, number)
        pause()
        number -= 1


if __name__ == "__main__":
    scheduler = RoundRobin()
    scheduler.spawn(countdown, "first", 2)
    scheduler.spawn(countdown, "second", 3)
    scheduler.run()
