"""Ray: workers whose async actors run Python on fibers that CPython knows nothing of.

``runtime_env()`` has the workers of a job interposed, and nothing else need be changed; ``report()`` says what
that came to in each of them. Nothing is installed: the switches are seen, not told.
"""

import json
import os
import socket
import sys
import threading
import uuid
from typing import Any, Literal

import stackwarden
from stackwarden.errors import AdapterError

__all__ = ["answer", "report", "runtime_env"]

_TOKEN = "STACKWARDEN_RAY"  # names the job's workers to each other
_SOCKETS = "\0stackwarden-ray-{token}-{pid}"  # Linux: sockets without a file


def runtime_env(*, isolation: Literal["none", "frames"] = "none") -> dict[str, Any]:
    """For ``ray.init(runtime_env=...)``, alone or merged with another.

    Raises InterpositionError where the workers cannot be interposed: they need Linux.
    """
    former = {name: f"${{{name}}}" for name in ("LD_PRELOAD", "PYTHONPATH", "STACKWARDEN")}
    variables = stackwarden.interposed_environment(former, isolation=isolation)  # Ray fills them in
    return {
        "env_vars": {**variables, _TOKEN: uuid.uuid4().hex},
        "worker_process_setup_hook": f"{__name__}.answer",
    }


def answer() -> None:
    """In a worker: answer ``report()`` from now on. Ray calls it when the worker starts."""
    token = os.environ.get(_TOKEN)
    if token is None or sys.flags.ignore_environment:
        return
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(_SOCKETS.format(token=token, pid=os.getpid()))
    listener.listen()
    threading.Thread(
        target=_answer_all, args=(listener,), name="stackwarden-report", daemon=True
    ).start()


def _answer_all(listener: socket.socket) -> None:
    while True:
        asking, _ = listener.accept()
        with asking:
            asking.sendall(json.dumps(stackwarden.status()).encode())


def report() -> list[dict[str, Any]]:
    """``stackwarden.status()`` of every worker of this job that was started under ``runtime_env()``.

    A row for each: its ``node`` (Ray's id), ``address`` and ``pid``, and what ``status()`` says there. Runs one
    task on each node that is alive, which takes no CPU; Ray must be initialised.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    environment = ray.get_runtime_context().runtime_env.get("env_vars", {})
    if _TOKEN not in environment:
        raise AdapterError("the job was not started with stackwarden's runtime_env()")
    ask = ray.remote(num_cpus=0)(_ask_workers)
    alive = [node for node in ray.nodes() if node["Alive"]]
    asked = [
        ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        ).remote(environment[_TOKEN])
        for node in alive
    ]
    return [
        {"node": node["NodeID"], "address": node["NodeManagerAddress"], **row}
        for node, rows in zip(alive, ray.get(asked), strict=True)
        for row in rows
    ]


def _ask_workers(token: str) -> list[dict[str, Any]]:
    """On one node: the status of each worker that answers."""
    answers = {pid: _answer_of(_SOCKETS.format(token=token, pid=pid)) for pid in _answering(token)}
    return [{"pid": pid, **json.loads(answer)} for pid, answer in answers.items() if answer]


def _answer_of(address: str) -> str:
    """What a worker says; nothing when it has ended, or ends meanwhile."""
    with socket.socket(socket.AF_UNIX) as worker:
        try:
            worker.connect(address)
            with worker.makefile() as answered:
                return answered.read()
        except ConnectionError:
            return ""


def _answering(token: str) -> list[int]:
    prefix = "@" + _SOCKETS.format(token=token, pid="")[1:]
    with open("/proc/net/unix") as sockets:  # noqa: PTH123
        names = {line.split()[-1] for line in sockets if prefix in line}
    return sorted(int(name.removeprefix(prefix)) for name in names)
