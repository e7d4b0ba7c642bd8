"""What a route may reach for."""

from dataclasses import dataclass
from typing import cast

from flask import current_app

from api.bodies import Readers
from api.events import Feeds
from api.ingestion.ingested import Limits
from api.metrics import Metrics
from api.owners import Owners
from api.pictures.cache import PictureCache
from api.planner import Planner
from api.serving.predict import Predictor
from api.serving.versions import Versions
from shared.artifacts import ArtifactStore
from shared.database import Sessions
from shared.preprocessing import ImageLimits
from shared.queue import Bell

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
