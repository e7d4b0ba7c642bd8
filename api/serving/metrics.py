"""What Prometheus reads: of this process's predictions, and of the jobs, which the database counts for all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.serving.model_cache import Versions
from shared.database.engine import Sessions
from shared.errors import ServiceError
from shared.jobs import statistics

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
OK = "ok"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    def __init__(self, sessions: Sessions, versions: Versions) -> None:
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
            buckets=SECONDS,
            registry=self._registry,
        )
        self.waited, self.prepared, self.inferred = (seconds.labels(stage) for stage in ("wait", "decode", "infer"))
        self.batch = Histogram(
            "trainyard_prediction_batch",
            "Inputs that the network took at once",
            buckets=BATCHES,
            registry=self._registry,
        )
        self.waiting = Gauge(
            "trainyard_predictions_waiting",
            "Requests for predictions that wait for their turn",
            registry=self._registry,
        )
        self._registry.register(_Memory(versions))
        self._registry.register(_Jobs(sessions))

    @contextmanager
    def counted(self, route: str) -> Iterator["Served"]:
        """One request, by how it ends."""
        served = Served()
        outcome = "internal-error"
        try:
            yield served
            outcome = OK
        except ServiceError as error:
            outcome = error.kind
            raise
        finally:
            self.count(route, served.model, served.version, outcome)

    def count(self, route: str, model: str, version: str, outcome: str = OK) -> None:
        self._predictions.labels(route, model, version, outcome).inc()

    def exposition(self) -> bytes:
        """In Prometheus's text format."""
        return generate_latest(self._registry)


@dataclass
class Served:
    """By which version, once it was found: names that clients invent are not counted one by one."""

    model: str = ""
    version: str = ""


class _Memory(Collector):
    def __init__(self, versions: Versions) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        count, size_bytes = self._versions.loaded()
        yield _gauge("trainyard_loaded_versions", "Versions in memory", count)
        yield _gauge("trainyard_loaded_versions_bytes", "About what they hold of it", size_bytes)


class _Jobs(Collector):
    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        with self._sessions() as session:
            counts = statistics.count_by_status(session)
            waiting = statistics.waiting_by_device(session)
            epoch_seconds = statistics.epoch_seconds(session)
            lost = statistics.count_lost_attempts(session)
        yield _gauges("trainyard_jobs", "Jobs, by status", "status", counts)
        depths = {device: depth for device, (depth, _) in waiting.items()}
        yield _gauges("trainyard_queue_depth", "Jobs that wait, by the device they ask for", "device", depths)
        waits = {device: seconds for device, (_, seconds) in waiting.items()}
        yield _gauges("trainyard_queue_oldest_seconds", "How long the oldest of them has waited", "device", waits)
        yield _gauges("trainyard_epoch_seconds", "The last epoch of what trains now, by model", "model", epoch_seconds)
        yield _gauge("trainyard_lost_attempts", "Attempts lost with their worker, of all jobs there are", lost)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _gauges(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, documentation, labels=(label,))
    for key, value in values.items():
        metric.add_metric((key,), value)
    return metric
