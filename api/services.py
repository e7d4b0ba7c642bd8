"""Define the services that routes use."""

from dataclasses import dataclass
from typing import cast

from flask import current_app

from api.access.gate import Gate
from api.access.identity_provider import IdentityProvider
from api.access.owners import Owners
from api.access.sign_ins import SignInLimiter
from api.charts.cache import PictureCache
from api.charts.dataset_rows import OpenDatasets
from api.charts.evaluation_tiles import TestImageCache
from api.documents.evaluations import KeptRows
from api.http.reading.body_reader import BodyReader
from api.http.reading.document_reader import DocumentReader
from api.http.wsgi.slow_clients import SlowClients
from api.ingestion.client import Ingestor
from api.planner.client import Planner
from api.serving.metrics import Metrics
from api.serving.model_cache import ModelCache
from api.serving.predictor import Predictor
from api.streaming.job_events import JobFeeds
from shared.database.engine import Sessions
from shared.database.tables.registry import Version
from shared.jobs.broker import JobNotifier
from shared.preprocessing.image_decoder import ImageDecoder
from shared.registry import versions
from shared.registry.evaluation import (
    IMAGES_FILE,
    ROWS_FILE,
    TEXTS_FILE,
    TestImages,
    TestRows,
    TestTexts,
    get_evaluation_file,
    read_evaluation_file,
)
from shared.storage.artifacts import ArtifactStore
from shared.storage.disk import DiskReserve

EXTENSION = "trainyard"


@dataclass(frozen=True)
class Services:
    """The services of an app.

    Attributes:
        sessions: sessions that show the caller of a request only what it may see.
        default_model: model of requests that name none, such as `POST /invocations`; None if they are refused.
        max_request_bytes: maximum size of a request body, except uploaded data sets.
        identity_provider: signs people in without a key; None if only keys do.
        clients: limits the number of threads that wait for clients.
    """

    sessions: Sessions
    artifacts: ArtifactStore
    notifier: JobNotifier
    planner: Planner
    reader: DocumentReader
    bodies: BodyReader
    model_cache: ModelCache
    predictor: Predictor
    default_model: str | None
    max_request_bytes: int
    metrics: Metrics
    decoder: ImageDecoder
    ingestor: Ingestor
    disk: DiskReserve
    pictures: PictureCache
    test_images: TestImageCache
    datasets: OpenDatasets
    owners: Owners
    gate: Gate
    sign_ins: SignInLimiter
    identity_provider: IdentityProvider | None
    feeds: JobFeeds
    clients: SlowClients

    def get_version(self, model: str, reference: str) -> Version:
        """Load a version with its manifest. `reference` is its number, `latest` or an alias.

        Raises ModelNotFound or VersionNotFound.
        """
        with self.sessions() as session:
            return versions.get_described_version(session, model, reference)

    def read_test_images(self, version: Version) -> TestImages:
        """Read the stored test images of `version`. Raises EvaluationNotFound or ArtifactDamaged."""
        digest = get_evaluation_file(version, IMAGES_FILE).sha256
        return self.test_images.get_or_read(digest, lambda: TestImages.from_bytes(self.artifacts.read(digest)))

    def list_kept_images(self, version: Version) -> frozenset[int]:
        """Return the numbers of the test rows whose images are kept. Raises ArtifactDamaged."""
        if not _has_file(version, IMAGES_FILE):
            return frozenset()
        return frozenset(self.read_test_images(version).rows.tolist())

    def read_kept_rows(self, version: Version) -> KeptRows:
        """Return the test rows that `version` keeps. Raises ArtifactDamaged."""
        table = None
        if _has_file(version, ROWS_FILE):
            table = TestRows.from_bytes(read_evaluation_file(self.artifacts, version, ROWS_FILE))
        texts = None
        if _has_file(version, TEXTS_FILE):
            texts = TestTexts.from_bytes(read_evaluation_file(self.artifacts, version, TEXTS_FILE))
        return KeptRows(self.list_kept_images(version), table, texts)


def _has_file(version: Version, name: str) -> bool:
    return any(file.name == name for file in version.files)


def services() -> Services:
    """Return the services of the current app."""
    return cast(Services, current_app.extensions[EXTENSION])  # in Flask, extensions are Any
