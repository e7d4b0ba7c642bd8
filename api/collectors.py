"""Collect the metrics that are computed at each Prometheus scrape: loaded versions and jobs."""

from collections.abc import Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.serving.model_cache import ModelCache
from shared.database.engine import Sessions
from shared.jobs import statistics
from shared.storage.disk import DiskReserve


class MemoryCollector(Collector):
    """Collector of the number and the size of the versions in the memory of this process."""

    def __init__(self, versions: ModelCache) -> None:
        self._versions = versions

    def collect(self) -> Iterator[Metric]:
        count, size_bytes = self._versions.count_loaded()
        yield _make_gauge("trainyard_loaded_versions", "Versions in memory", count)
        yield _make_gauge("trainyard_loaded_versions_bytes", "Approximate bytes of the versions in memory", size_bytes)


class DiskCollector(Collector):
    """Collector of the free space of the disk with the data folder."""

    def __init__(self, disk: DiskReserve) -> None:
        self._disk = disk

    def collect(self) -> Iterator[Metric]:
        yield _make_gauge("trainyard_disk_free_bytes", "Free bytes of the data folder", self._disk.count_free_bytes())


class JobCollector(Collector):
    """Collector of the metrics of all jobs, from the database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    def collect(self) -> Iterator[Metric]:
        with self._sessions() as session:
            counts = statistics.count_by_status(session)
            waiting = statistics.count_waiting_by_device(session)
            epoch_seconds = statistics.get_epoch_seconds(session)
            lost = statistics.count_lost_attempts(session)
        yield _make_gauges("trainyard_jobs", "Jobs, by status", "status", counts)
        depths = {device: depth for device, (depth, _) in waiting.items()}
        yield _make_gauges("trainyard_queue_depth", "Queued jobs, by requested device", "device", depths)
        waits = {device: seconds for device, (_, seconds) in waiting.items()}
        yield _make_gauges("trainyard_queue_oldest_seconds", "Age of the oldest queued job in seconds", "device", waits)
        yield _make_gauges(
            "trainyard_epoch_seconds", "Seconds of the last epoch of a running training", "model", epoch_seconds
        )
        yield _make_gauge("trainyard_lost_attempts", "Lost attempts of all jobs in the database", lost)


def _make_gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)


def _make_gauges(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    metric = GaugeMetricFamily(name, documentation, labels=(label,))
    for key, value in values.items():
        metric.add_metric((key,), value)
    return metric
