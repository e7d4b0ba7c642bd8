"""Count and time the predictions of this process, and render all metrics for Prometheus."""

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
    """The metrics of this process. `collectors` add metrics that are computed when Prometheus scrapes.

    Attributes:
        waited: seconds from the arrival of a prediction request until its batch starts.
        prepared: seconds of decoding and preprocessing the inputs of a request.
        inferred: seconds of the run of the network that computed a request.
        batch: number of inputs in one run of the network.
        waiting: number of queued requests.
    """

    def __init__(self, collectors: Iterable[Collector] = ()) -> None:
        self._registry = CollectorRegistry()
        self._predictions = Counter(
            "trainyard_prediction_requests",
            "Prediction requests, by outcome",
            ("route", "model", "version", "outcome"),
            registry=self._registry,
        )
        seconds = Histogram(
            "trainyard_prediction_seconds",
            "Seconds of a prediction request, by stage: wait in the queue, decode and preprocess, run of the network",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=self._registry,
        )
        self.waited, self.prepared, self.inferred = (seconds.labels(stage) for stage in ("wait", "decode", "infer"))
        self.batch = Histogram(
            "trainyard_prediction_batch",
            "Inputs in one run of a network",
            buckets=BATCH_SIZE_BUCKETS,
            registry=self._registry,
        )
        self.waiting = Gauge(
            "trainyard_predictions_waiting",
            "Queued prediction requests",
            registry=self._registry,
        )
        for collector in collectors:
            self._registry.register(collector)

    @contextmanager
    def count_request(self, route: str) -> Iterator["CountedRequest"]:
        """Count one request by its outcome: `ok`, the kind of its ServiceError, or `internal-error`.

        The caller sets `model` and `version` of the yielded request once the version is found.
        """
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
        """Count one request. `route` is the name of the call, `outcome` as in `count_request`."""
        self._predictions.labels(route, model, version, outcome).inc()

    def render(self) -> bytes:
        """Render all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


@dataclass
class CountedRequest:
    """The model and the version that answer a request.

    Both are empty until the version is found, so that names invented by clients do not become labels of metrics.
    """

    model: str = ""
    version: str = ""
