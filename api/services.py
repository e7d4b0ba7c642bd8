"""What a route may reach for."""

from dataclasses import dataclass
from typing import cast

from flask import current_app

from api.access.owners import Owners
from api.charts.cache import PictureCache
from api.http.slow_clients import Readers
from api.ingestion.result import Limits
from api.planner.client import Planner
from api.serving.metrics import Metrics
from api.serving.model_cache import Versions
from api.serving.predictor import Predictor
from api.streaming.job_events import Feeds
from shared.database.engine import Sessions
from shared.jobs.broker import Bell
from shared.preprocessing.contract import ImageLimits
from shared.storage.artifacts import ArtifactStore

EXTENSION = "trainyard"


@dataclass(frozen=True)
class Services:
    sessions: Sessions
    artifacts: ArtifactStore
    bell: Bell
    planner: Planner
    versions: Versions
    predictor: Predictor
    default_model: str | None
    max_request_bytes: int
    metrics: Metrics
    image_limits: ImageLimits
    upload_limits: Limits
    pictures: PictureCache
    owners: Owners
    feeds: Feeds
    readers: Readers


def services() -> Services:
    return cast(Services, current_app.extensions[EXTENSION])  # Flask keeps extensions as Any
