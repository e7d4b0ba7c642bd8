"""Measure what keys cost: predictions of a service with keys relative to one without, and beside a flood of wrong keys.

Both services run at the same time, and are asked in turn.
"""

import http.client
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from shared.access import keys, users
from shared.access.audit import Actor
from shared.access.keys import KeyRequest
from shared.access.rights import Role
from shared.database.engine import make_engine, make_sessions
from tests.benchmarks.serving import find_server_process
from tests.support.clients import await_end, submit
from tests.support.examples import DIGITS
from tests.support.stacks import LocalStack, local_stack

PAIRS = 10
REQUESTS = 2000
KEYS = 1000
FLOOD_SECONDS = 5.0
MIB = 2**20
PATH = "/api/v1/models/digits/predictions"
BODY = json.dumps({"instances": [[[0.0] * 8] * 8]}).encode()


def measure_access() -> None:
    """Print the ratio of the CPU time of predictions with keys and without, memory, and p99 beside a flood."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        folder = Path(second)
        with local_stack(Path(first)) as off, local_stack(folder, TRAINYARD_AUTH="keys") as on:
            key = on.accept(on.invite("ada", "--role", "admin"))
            on.http.headers["Authorization"] = f"Bearer {key}"
            for stack in (off, on):
                assert await_end(stack.http, submit(stack.http, DIGITS))["status"] == "succeeded"
            clients = {off: _Client(off.port, {}), on: _Client(on.port, {"Authorization": f"Bearer {key}"})}
            _measure_pairs(clients, off, on)
            _measure_memory(folder, off, on)
            _measure_flood(clients[on], on)


class _Client:
    """A connection that asks for predictions."""

    def __init__(self, port: int, headers: dict[str, str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self.headers = {"Content-Type": "application/json", **headers}

    def ask(self, expected: int = 200) -> float:
        """Send a request, and return the seconds that it took."""
        began = time.perf_counter()
        self._connection.request("POST", PATH, BODY, self.headers)
        answer = self._connection.getresponse()
        answer.read()
        assert answer.status == expected, answer.status
        return time.perf_counter() - began


def _measure_pairs(clients: dict[LocalStack, _Client], off: LocalStack, on: LocalStack) -> None:
    ratios = []
    for pair in range(PAIRS + 1):
        costs = {}
        for stack in (off, on) if pair % 2 else (on, off):
            process = find_server_process(stack)
            before = sum(process.cpu_times()[:2])
            for _ in range(REQUESTS):
                clients[stack].ask()
            costs[stack] = sum(process.cpu_times()[:2]) - before
        if pair:  # the first one warms up
            ratios.append(costs[on] / costs[off])
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"predictions with keys, CPU relative to without: {middle:.3f} ({low:.3f} to {high:.3f}, {PAIRS} pairs)")


def _measure_memory(folder: Path, off: LocalStack, on: LocalStack) -> None:
    """Let KEYS keys ask once each, and print how much the service with keys grows."""
    sessions = make_sessions(make_engine(f"sqlite:///{folder}/trainyard.db"))
    texts = []
    actor = Actor("benchmark", "command")
    with sessions.begin() as session:
        for number in range(KEYS):
            user = users.create_service(session, actor, f"program-{number}", "", Role.VIEWER, "default")
            texts.append(keys.create_key(session, actor, user, KeyRequest("x"))[1])
    sessions.kw["bind"].dispose()
    process = find_server_process(on)
    client = _Client(on.port, {"Authorization": f"Bearer {texts[0]}"})
    client.ask()
    before = process.memory_full_info().uss
    for text in texts:
        client.headers["Authorization"] = f"Bearer {text}"
        client.ask()
        client.ask()
    grown = (process.memory_full_info().uss - before) / MIB
    other = find_server_process(off).memory_full_info().uss / MIB
    print(f"{KEYS} keys in memory: {grown:+.1f} MiB; the service without keys has {other:.0f} MiB")


def _measure_flood(client: _Client, on: LocalStack) -> None:
    """Print p99 of predictions without a flood of wrong keys, and beside one of half of what the server can answer."""
    most = _count_refusals(on, FLOOD_SECONDS) / FLOOD_SECONDS
    quiet = _measure_p99(client)
    with _flood(on, most / 2):
        flooded = _measure_p99(client)
    again = _measure_p99(client)
    print(
        f"p99 of predictions: {1000 * quiet:.2f} ms, beside {most / 2:.0f} wrong keys a second {1000 * flooded:.2f}, "
        f"and afterwards {1000 * again:.2f}"
    )


def _measure_p99(client: _Client) -> float:
    return statistics.quantiles([client.ask() for _ in range(REQUESTS)], n=100)[98]


@contextmanager
def _flood(on: LocalStack, rate: float) -> Iterator[None]:
    """Send `rate` wrong keys a second from a process of its own, which does not take turns with this one."""
    ends = multiprocessing.Event()
    flood = multiprocessing.Process(target=_send_wrong_keys, args=(on.port, rate, ends, None))
    flood.start()
    try:
        yield
    finally:
        ends.set()
        flood.join()


def _count_refusals(on: LocalStack, seconds: float) -> int:
    """Return how many wrong keys a process sends in some seconds, one after another."""
    ends, count = multiprocessing.Event(), multiprocessing.Value("q", 0)
    flood = multiprocessing.Process(target=_send_wrong_keys, args=(on.port, None, ends, count))
    flood.start()
    time.sleep(seconds)
    ends.set()
    flood.join()
    return int(count.value)


def _send_wrong_keys(port: int, rate: float | None, ends: Event, total: Any) -> None:
    """Send requests with wrong keys, `rate` a second, or as many as are answered. Writes their number to `total`."""
    client, count, began = _Client(port, {}), 0, time.monotonic()
    while not ends.is_set():
        client.headers["Authorization"] = f"Bearer ty_AAAAAAAA_{count % 1000:032}000000"
        client.ask(expected=401)
        count += 1
        if rate is not None:
            time.sleep(max(0.0, began + count / rate - time.monotonic()))
    if total is not None:
        total.value = count
