"""What the adapter of greenlet adds to a switch made from Python, and what a tracer would.

Promises: all ways switch between the same two greenlets, and take turns; each number is the least of its turns.
Prints JSON: nanoseconds for one switch, by the name of the way.

Command line: python greenlets.py
"""

import json
import operator
import time
from collections.abc import Callable
from typing import Any

import greenlet

from stackwarden import adapters

SWITCHES = 20_000
TURNS = 40


def partner() -> Callable[[], Any]:
    """Switches to a greenlet that does nothing but switch back."""
    switch_back = greenlet.getcurrent().switch

    def loop() -> None:
        while True:
            switch_back()

    other = greenlet.greenlet(loop)
    other.switch()
    return other.switch


def turn(switch: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    for _ in range(SWITCHES):
        switch()
    return (time.perf_counter_ns() - start) / SWITCHES / 2


def with_adapter(switch: Callable[[], Any]) -> float:
    adapters.install("greenlet")
    switch()  # comes back past the adapter: it was left before
    try:
        return turn(switch)
    finally:
        adapters.uninstall("greenlet")


def with_tracer(tracer: Any, switch: Callable[[], Any]) -> float:
    greenlet.settrace(tracer)
    try:
        return turn(switch)
    finally:
        greenlet.settrace(None)


WAYS: dict[str, Callable[[Callable[[], Any]], float]] = {
    "bare": turn,
    "adapter": with_adapter,
    "tracer in C": lambda switch: with_tracer(operator.is_, switch),
    "tracer in Python": lambda switch: with_tracer(lambda event, greenlets: None, switch),
}


def main() -> None:
    least = dict.fromkeys(WAYS, float("inf"))
    switch = partner()
    for _ in range(TURNS):
        for name, way in WAYS.items():
            least[name] = min(least[name], way(switch))
    print(json.dumps(least))


if __name__ == "__main__":
    main()
