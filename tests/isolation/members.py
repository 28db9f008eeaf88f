"""Coroutines that know what they must find each time they go on, and commands that change it.

A member enters one level for each command that it is given, and leaves it at "back". Before and
after every switch it compares: the exception being handled, the value of a context variable, the
number of frames under it and where they end, the next value of a generator that is half run.
"""

import contextvars
import random
import sys
from itertools import count

from stackwarden.adapters.ucontext import Coroutine, suspend

variable = contextvars.ContextVar("variable", default=None)


class TravelError(Exception):
    """Thrown into a member, to travel out of it."""


class Model:
    """What one member must find: the last of each list."""

    def __init__(self, name, depth):
        self.name = name
        self.depth = depth
        self.handled = [None]
        self.values = [None]
        self.frames = [depth + 4]  # run_member, sink, its further calls, live, check
        self.checks = 0


def check(model):
    """Is everything as it was left?"""
    assert sys.exc_info()[1] is model.handled[-1], "another exception is being handled"
    assert variable.get() == model.values[-1], "another context is current"
    frame, depth = sys._getframe(), 0
    while frame is not None:
        last, frame, depth = frame, frame.f_back, depth + 1
    assert depth == model.frames[-1], "the number of frames has changed"
    assert last.f_code is run_member.__code__, "the chain of frames ends elsewhere"
    model.checks += 1


# ---- inside the coroutine ----


def run_member(model):
    """The function of the coroutine. It is over when every level was left."""
    assert sink(model, model.depth) == model.name
    assert variable.get() is None
    assert sys.exc_info()[1] is None
    return model.name, "over"


def sink(model, depth):
    return sink(model, depth - 1) if depth else live(model)


def live(model):
    """One level: do what the commands say, until it is "back"."""
    name = model.name
    numbers = (number for number in count())
    for seen in count():
        assert next(numbers) == seen
        check(model)
        command = suspend(name)
        check(model)
        assert name is model.name
        if command == "back":
            return name
        if type(command) is tuple:
            pass_on(*command)
        elif command is not None:
            LEVELS[command](model)
        del command
    return None


def pass_on(other, command):
    """Resume another member from inside this one."""
    result = other.resume(command)
    assert result == other.model.name


def enter(model, frames, *, handled=None, value=None):
    """The next level, so many frames deeper; what is not given stays as it is."""
    model.frames.append(model.frames[-1] + frames)
    model.handled.append(handled or model.handled[-1])
    model.values.append(value or model.values[-1])
    try:
        assert live(model) == model.name
    finally:
        for stack in (model.frames, model.handled, model.values):
            stack.pop()


def call(model):
    enter(model, 3)


def handle(model):
    try:
        raise KeyError(model.name)
    except KeyError as error:
        enter(model, 3, handled=error)


def handle_another(model):
    try:
        raise ValueError(model.name) from model.handled[-1]
    except ValueError as error:
        enter(model, 3, handled=error)


def in_context(model):
    contextvars.copy_context().run(set_and_enter, model)


def set_and_enter(model):
    value = (model.name, len(model.values))
    variable.set(value)
    enter(model, 4, value=value)


def set_variable(model):
    value = (model.name, len(model.values))
    token = variable.set(value)
    enter(model, 3, value=value)
    variable.reset(token)


def generate(model):
    assert list(enter_and_yield(model)) == [1, 2]


def enter_and_yield(model):
    yield 1
    enter(model, 4)
    yield 2


def sort(model):
    """A C function stands between the frames."""
    keys = []
    [3].sort(key=lambda key: (keys.append(key), enter(model, 4)))
    assert keys == [3]


LEVELS = {
    function.__name__: function
    for function in (call, handle, handle_another, in_context, set_variable, generate, sort)
}


# ---- outside ----


class Member:
    """A coroutine and its model."""

    def __init__(self, name, depth, **options):
        self.model = Model(name, depth)
        self.coroutine = Coroutine(run_member, self.model, **options)
        self.resume = self.coroutine.resume
        assert self.resume() == name

    @property
    def levels(self):
        return len(self.model.frames) - 1

    def end(self, way):
        """End it: level by level, by an exception, or by closing it."""
        coroutine, model = self.coroutine, self.model
        if way == "levels":
            for _ in range(self.levels):
                assert self.resume("back") == model.name
            assert self.resume("back") == (model.name, "over")
        elif way == "exception":
            error = TravelError(model.name)
            try:
                coroutine.throw(error)
            except TravelError as travelled:
                assert travelled is error
        else:
            coroutine.close()
        assert coroutine.done


WAYS_TO_END = ("levels", "exception", "close")


class Crowd:
    """Members that are resumed in a random order, and their ends."""

    def __init__(self, seed, size, **options):
        self.random = random.Random(seed)
        self.members = [Member(name, name % 37, **options) for name in range(size)]

    def switch(self, switches):
        """Resume a member as often as that: directly, or from inside another one."""
        choice, chance = self.random.choice, self.random.random
        members, levels = self.members, list(LEVELS)
        while switches > 0:
            member, dice = choice(members), chance()
            command, switches = None, switches - 1
            if dice < 0.1:
                if member.levels < 8:
                    command = choice(levels)
            elif dice < 0.2:
                if member.levels:
                    command = "back"
            elif dice < 0.3:
                second, third = choice(members), choice(members)
                if len({member, second, third}) == 3:
                    command, switches = (second, (third, None)), switches - 2
            assert member.resume(command) == member.model.name

    def end(self):
        """End all of them in a random order; how often they compared."""
        self.random.shuffle(self.members)
        for number, member in enumerate(self.members):
            member.end(WAYS_TO_END[number % 3])
        return sum(member.model.checks for member in self.members)
