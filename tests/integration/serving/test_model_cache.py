"""Test the cache of loaded versions: one load for all requests, eviction, failures, and moved aliases."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from api.serving.model_cache import ModelCache
from shared.database.engine import Sessions
from shared.database.tables.registry import Version
from shared.errors import ArtifactDamaged, ModelNotFound
from shared.inference.servable import Servable, load_servable
from shared.registry import aliases
from shared.registry import versions as registry_versions
from shared.settings import Settings
from shared.storage.artifacts import ArtifactStore
from shared.system import trim_heap
from tests.support.examples import XOR
from tests.support.problems import assert_problem
from tests.support.storage import list_files
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LARGE = 2**40


@pytest.fixture
def artifacts(settings: Settings) -> ArtifactStore:
    """Provide the artifact store that the API reads."""
    return ArtifactStore(settings.artifacts_url)


@pytest.fixture
def xor(published: Callable[[object], PublishedVersion]) -> PublishedVersion:
    """Provide a trained version of `xor`. Tests publish it, as often as they need."""
    return published(XOR)


class SlowLoads(list[str]):
    """The names of the versions that were loaded, in order. Each load is slowed down by 0.1 s."""

    def load(self, version: Version, artifacts: ArtifactStore) -> Servable:
        self.append(f"{version.model}/{version.number}")
        time.sleep(0.1)
        return load_servable(version, artifacts)


def set_production(sessions: Sessions, number: int) -> None:
    with sessions.begin() as session:
        aliases.set_alias(session, "xor", registry_versions.PRODUCTION, number)


def test_concurrent_requests_load_a_version_once(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion
) -> None:
    xor.publish(sessions, artifacts)
    loads = SlowLoads()
    cache = ModelCache(sessions, artifacts, LARGE, load=loads.load)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: cache.get("xor"), range(8)))

    assert len(set(map(id, found))) == 1
    assert loads == ["xor/1"]


def test_the_least_recently_used_version_is_evicted(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion
) -> None:
    for _ in range(3):
        xor.publish(sessions, artifacts)
    size = ModelCache(sessions, artifacts, LARGE).get("xor", "1").size_bytes
    loads = SlowLoads()
    cache = ModelCache(sessions, artifacts, 2 * size, load=loads.load)

    for reference in ("1", "2", "1", "3", "1", "2"):
        cache.get("xor", reference)

    assert loads == ["xor/1", "xor/2", "xor/3", "xor/2"]
    assert cache.count_loaded() == (2, 2 * size)


def test_a_version_larger_than_the_memory_budget_is_served(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion
) -> None:
    xor.publish(sessions, artifacts)
    xor.publish(sessions, artifacts)
    cache = ModelCache(sessions, artifacts, 1)

    assert [cache.get("xor", reference).number for reference in ("1", "2", "1")] == [1, 2, 1]
    assert cache.count_loaded()[0] == 1


def test_the_size_of_a_version_is_the_memory_that_it_takes(
    sessions: Sessions, artifacts: ArtifactStore, published: Callable[[object], PublishedVersion]
) -> None:
    """Load a version with 4 MB of weights ten times, and compare the growth of the process with `size_bytes`."""
    layers = [{"layer": "Dense", "units": units} for units in (1024, 1024)]
    wide = {**XOR, "model": "wide", "network": {"layers": [*layers, *XOR["network"]["layers"][1:]]}}
    published(wide).publish(sessions, artifacts)
    with sessions() as session:
        version = registry_versions.get_version(session, "wide", registry_versions.LATEST)
    load_servable(version, artifacts)
    trim_heap()
    process = psutil.Process()
    before = process.memory_info().rss

    servables = [load_servable(version, artifacts) for _ in range(10)]
    trim_heap()

    growth = process.memory_info().rss - before
    assert 0.7 < growth / sum(servable.size_bytes for servable in servables) < 1.1


def test_the_old_version_answers_while_the_new_one_loads(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion
) -> None:
    for _ in range(2):
        xor.publish(sessions, artifacts)
    set_production(sessions, 1)
    may_load, is_loading = threading.Event(), threading.Event()
    may_load.set()

    def load(version: Version, artifacts: ArtifactStore) -> Servable:
        is_loading.set()
        may_load.wait()
        return load_servable(version, artifacts)

    cache = ModelCache(sessions, artifacts, LARGE, refresh_seconds=0.2, load=load)
    cache.get("xor")
    set_production(sessions, 2)
    assert cache.get("xor").number == 1
    time.sleep(0.25)
    may_load.clear()
    is_loading.clear()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(cache.get, "xor")
        assert is_loading.wait(30)
        meanwhile = cache.get("xor").number
        may_load.set()
        assert (meanwhile, first.result().number) == (1, 2)
    assert cache.get("xor").number == 2


def test_a_damaged_version_fails_predictions_and_readiness(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, xor: PublishedVersion
) -> None:
    xor.publish(sessions, worker.context.artifacts)
    paths = set(list_files(worker.context.artifacts))
    set_production(sessions, 1)
    for path in paths:
        path.write_bytes(b"damaged")

    broken = http.post("/api/v1/models/xor/predictions", json={"instances": [[0, 1]]})
    health = http.get("/health/ready").json

    assert_problem(broken, 500, "artifact-damaged")
    assert health["checks"]["versions"]["ready"] is False
    assert health["checks"]["versions"]["detail"].startswith("xor/1: ")


def test_a_failed_load_is_not_repeated_at_once(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion
) -> None:
    xor.publish(sessions, artifacts)
    attempts = []

    def load(version: Version, artifacts: ArtifactStore) -> Servable:
        attempts.append(version.number)
        if len(attempts) == 1:
            raise ArtifactDamaged("gone")
        return load_servable(version, artifacts)

    cache = ModelCache(sessions, artifacts, LARGE, load=load)
    for _ in range(3):
        with pytest.raises(ArtifactDamaged, match="gone"):
            cache.get("xor")

    assert attempts == [1]
    cache._failures.clear()
    assert cache.get("xor").number == 1
    assert cache.list_failures() == []


def test_unknown_names_are_not_cached(sessions: Sessions, artifacts: ArtifactStore) -> None:
    cache = ModelCache(sessions, artifacts, LARGE)

    for number in range(3):
        with pytest.raises(ModelNotFound):
            cache.get(f"invented-{number}")

    assert not cache._refresh_locks
    assert not cache._resolved


def test_a_loaded_version_is_served_without_the_database(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    xor.publish(sessions, artifacts)
    cache = ModelCache(sessions, artifacts, LARGE)
    servable = cache.get("xor")

    def fail(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(registry_versions, "get_served_version", fail)
    cache.invalidate("xor")

    assert cache.get("xor") is servable
    with pytest.raises(OperationalError):
        ModelCache(sessions, artifacts, LARGE).get("xor")


def test_every_prediction_names_its_version_in_a_header(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, xor: PublishedVersion
) -> None:
    xor.publish(sessions, worker.context.artifacts)

    answer = http.post("/api/v1/models/xor/predictions", json={"instances": [[0, 1]]})

    assert answer.headers["Trainyard-Version"] == "xor/1"
