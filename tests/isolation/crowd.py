"""A crowd of members in a process of its own: what is still allocated when they are gone?

Command line: crowd.py SEED MEMBERS SWITCHES [--isolation I] [--threads N]. Each thread has MEMBERS
of its own and resumes one SWITCHES times. Before that it does so twice for a tenth of the switches:
what CPython makes once and keeps is there then. Prints a JSON object with what was counted before
and after the whole: `blocks`, and `references` where the interpreter counts them.
"""

import argparse
import array
import gc
import json
import sys
import threading

from members import Crowd

import stackwarden


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("seed", type=int)
    parser.add_argument("members", type=int)
    parser.add_argument("switches", type=int)
    parser.add_argument("--isolation", default="frames")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    switches = [options.switches // 10] * 2 + [options.switches]
    counted = array.array("q", bytes(9 * 8))  # counting is not to allocate what it counts
    for number in range(3):
        count(counted, 3 * number, options, switches[number])
    status = stackwarden.status()
    print(
        json.dumps(
            {
                "checks": counted[6],
                "blocks": [counted[4], counted[7]],
                "references": [counted[5], counted[8]],
                "leaked_stacks": status["leaked_stacks"],
                "dropped_states": status["dropped_states"],
            }
        )
    )


def count(counted, place, options, switches):
    counted[place] = in_threads(options, switches) if options.threads else live(options, switches)
    gc.collect()
    gc.collect()
    counted[place + 1] = sys.getallocatedblocks()
    counted[place + 2] = getattr(sys, "gettotalrefcount", int)()


def live(options, switches):
    crowd = Crowd(options.seed, options.members, isolation=options.isolation)
    crowd.switch(switches)
    return crowd.end()


def in_threads(options, switches):
    checks = []
    threads = [
        threading.Thread(target=lambda: checks.append(live(options, switches)))
        for _ in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(checks) == options.threads
    return sum(checks)


main()
