"""Versions in memory: loaded once, let go for others, and never in each other's way."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from api.serving import model_cache as module
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
    return ArtifactStore(settings.artifacts_url)


@pytest.fixture
def xor(published: Callable[[object], PublishedVersion]) -> PublishedVersion:
    return published(XOR)


@pytest.fixture
def loadings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the versions, as they are loaded; each takes a moment."""
    names: list[str] = []

    def load(version: Version, artifacts: ArtifactStore) -> Servable:
        names.append(f"{version.model}/{version.number}")
        time.sleep(0.1)
        return load_servable(version, artifacts)

    monkeypatch.setattr(module, "load_servable", load)
    return names


def point_at(sessions: Sessions, number: int) -> None:
    with sessions.begin() as session:
        aliases.set_alias(session, "xor", registry_versions.PRODUCTION, number)


def test_many_that_ask_at_once_wait_for_one_loading(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion, loadings: list[str]
) -> None:
    xor.publish(sessions, artifacts)
    versions = ModelCache(sessions, artifacts, LARGE)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: versions.get("xor"), range(8)))

    assert len(set(map(id, found))) == 1
    assert loadings == ["xor/1"]


def test_the_one_unused_for_longest_makes_room(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion, loadings: list[str]
) -> None:
    for _ in range(3):
        xor.publish(sessions, artifacts)
    size = ModelCache(sessions, artifacts, LARGE).get("xor", "1").size_bytes
    loadings.clear()
    versions = ModelCache(sessions, artifacts, 2 * size)

    for reference in ("1", "2", "1", "3", "1", "2"):
        versions.get("xor", reference)

    assert loadings == ["xor/1", "xor/2", "xor/3", "xor/2"]
    assert versions.count_loaded() == (2, 2 * size)


def test_one_that_is_larger_than_the_memory_for_all_is_served_all_the_same(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion
) -> None:
    xor.publish(sessions, artifacts)
    xor.publish(sessions, artifacts)
    versions = ModelCache(sessions, artifacts, 1)

    assert [versions.get("xor", reference).number for reference in ("1", "2", "1")] == [1, 2, 1]
    assert versions.count_loaded()[0] == 1


def test_what_a_version_takes_is_counted(
    sessions: Sessions, artifacts: ArtifactStore, published: Callable[[object], PublishedVersion]
) -> None:
    """Four megabytes of weights, once each."""
    layers = [{"layer": "Dense", "units": units} for units in (1024, 1024)]
    wide = {**XOR, "model": "wide", "network": {"layers": [*layers, *XOR["network"]["layers"][1:]]}}
    published(wide).publish(sessions, artifacts)
    with sessions() as session:
        version = registry_versions.get_version(session, "wide", registry_versions.LATEST)
    load_servable(version, artifacts)
    trim_heap()
    process = psutil.Process()
    before = process.memory_info().rss

    servable = [load_servable(version, artifacts) for _ in range(10)]
    trim_heap()

    taken = process.memory_info().rss - before
    assert 0.7 < taken / sum(one.size_bytes for one in servable) < 1.1


def test_an_alias_that_moves_is_seen_a_second_later_and_nobody_waits(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the new version is loaded, the old one answers."""
    for _ in range(2):
        xor.publish(sessions, artifacts)
    point_at(sessions, 1)
    may_load, is_loading = threading.Event(), threading.Event()
    may_load.set()

    def load(version: Version, artifacts: ArtifactStore) -> Servable:
        is_loading.set()
        may_load.wait()
        return load_servable(version, artifacts)

    monkeypatch.setattr(module, "load_servable", load)
    monkeypatch.setattr(module, "REFRESH_SECONDS", 0.2)
    versions = ModelCache(sessions, artifacts, LARGE)
    versions.get("xor")
    point_at(sessions, 2)
    assert versions.get("xor").number == 1
    time.sleep(0.25)
    may_load.clear()
    is_loading.clear()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(versions.get, "xor")
        is_loading.wait()
        meanwhile = versions.get("xor").number
        may_load.set()
        assert (meanwhile, first.result().number) == (1, 2)
    assert versions.get("xor").number == 2


def test_a_damaged_version_is_an_error_of_its_own(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, xor: PublishedVersion
) -> None:
    xor.publish(sessions, worker.context.artifacts)
    before = set(list_files(worker.context.artifacts))
    point_at(sessions, 1)
    for path in before:
        path.write_bytes(b"damaged")

    broken = http.post("/api/v1/models/xor/predictions", json={"instances": [[0, 1]]})
    health = http.get("/health/ready").json

    assert_problem(broken, 500, "artifact-damaged")
    assert health["checks"]["versions"]["ready"] is False
    assert health["checks"]["versions"]["detail"].startswith("xor/1: ")


def test_a_version_that_cannot_be_loaded_is_not_tried_again_at_once(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    xor.publish(sessions, artifacts)
    tried = []

    def load(version: Version, _: ArtifactStore) -> Servable:
        tried.append(version.number)
        raise ArtifactDamaged("gone")

    monkeypatch.setattr(module, "load_servable", load)
    versions = ModelCache(sessions, artifacts, LARGE)
    for _ in range(3):
        with pytest.raises(ArtifactDamaged, match="gone"):
            versions.get("xor")

    assert tried == [1]
    monkeypatch.setattr(module, "load_servable", load_servable)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    with pytest.raises(ArtifactDamaged):
        versions.get("xor")
    versions._failures.clear()
    assert versions.get("xor").number == 1
    assert versions.list_failures() == []


def test_names_that_clients_invent_are_not_remembered(sessions: Sessions, artifacts: ArtifactStore) -> None:
    versions = ModelCache(sessions, artifacts, LARGE)

    for number in range(3):
        with pytest.raises(ModelNotFound):
            versions.get(f"invented-{number}")

    assert not versions._looking
    assert not versions._found


def test_what_is_loaded_is_served_while_the_database_is_away(
    sessions: Sessions, artifacts: ArtifactStore, xor: PublishedVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    xor.publish(sessions, artifacts)
    versions = ModelCache(sessions, artifacts, LARGE)
    servable = versions.get("xor")

    def fail(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(registry_versions, "get_served_version", fail)
    versions.invalidate("xor")

    assert versions.get("xor") is servable
    with pytest.raises(OperationalError):
        ModelCache(sessions, artifacts, LARGE).get("xor")


def test_every_answer_names_its_version(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, xor: PublishedVersion
) -> None:
    xor.publish(sessions, worker.context.artifacts)

    answer = http.post("/api/v1/models/xor/predictions", json={"instances": [[0, 1]]})

    assert answer.headers["Trainyard-Version"] == "xor/1"
