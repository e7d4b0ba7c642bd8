"""What Prometheus reads: of this process's predictions, and of the jobs, which the database counts for all."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from shared.errors import ServiceError

SECONDS_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OK = "ok"
INTERNAL_ERROR = "internal-error"
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self._registry = CollectorRegistry()
        self._predictions = Counter(
            "trainyard_prediction_requests",
            "Requests for predictions, by what came of them",
            ("route", "model", "version", "outcome"),
            registry=self._registry,
        )
        seconds = Histogram(
            "trainyard_prediction_seconds",
            "What a request for predictions took: waiting for its turn, decoding and preparing, the network",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self.waited, self.prepared, self.inferred = (seconds.labels(stage) for stage in ("wait", "decode", "infer"))
        self.batch = Histogram(
            "trainyard_prediction_batch",
            "Inputs that the network took at once",
            buckets=BATCH_SIZE_BUCKETS,
            registry=self._registry,
        )
        self.waiting = Gauge(
            "trainyard_predictions_waiting",
            "Requests for predictions that wait for their turn",
            registry=self._registry,
        )
        for collector in collectors:
            self._registry.register(collector)

    @contextmanager
    def count_request(self, route: str) -> Iterator["CountedRequest"]:
        """Count one request by its outcome: `ok`, the kind of its ServiceError, or `internal-error`."""
        request = CountedRequest()
        outcome = INTERNAL_ERROR
        try:
            yield request
            outcome = OK
        except ServiceError as error:
            outcome = error.kind
            raise
        finally:
            self.count(route, request.model, request.version, outcome)

    def count(self, route: str, model: str, version: str, outcome: str = OK) -> None:
        self._predictions.labels(route, model, version, outcome).inc()

    def render(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)


@dataclass
class CountedRequest:
    """By which version, once it was found: names that clients invent are not counted one by one."""

    model: str = ""
    version: str = ""
