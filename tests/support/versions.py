"""Publish versions again without training them again, and read what they hold."""

import io
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from flask.testing import FlaskClient

from shared.database.engine import Sessions
from shared.devices import Device
from shared.jobs import lifecycle, publishing, submission
from shared.spec.training import TrainingSpec
from shared.storage import tracked_files
from shared.storage.artifacts import ArtifactStore
from tests.support.examples import Json
from tests.support.worker import LEASE_SECONDS


@dataclass(frozen=True)
class PublishedVersion:
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


def read_weights(http: FlaskClient, model: str, number: int = 1) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    content = http.get(f"/api/v1/models/{model}/versions/{number}/files/model.weights.h5").data
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found
