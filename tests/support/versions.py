"""Publish a trained version in several databases, and read weights."""

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
    """The description and the files of a trained version. A test publishes them instead of training, which is slow."""

    spec: Json
    description: Json
    paths: list[Path]

    def publish(self, sessions: Sessions, artifacts: ArtifactStore) -> int:
        """Create and claim a job, publish its version and return the number of the version."""
        files = tracked_files.store(sessions, artifacts, self.paths)
        with sessions.begin() as session:
            submission.create_job(session, TrainingSpec.model_validate(self.spec))
            job = lifecycle.claim(session, "worker-0", list(Device), LEASE_SECONDS)
            assert job is not None
            return publishing.publish(session, job.id, job.attempt, self.spec["model"], self.description, files)


def read_weights(http: FlaskClient, model: str, number: int = 1) -> dict[str, np.ndarray]:
    """Download the weights of a version, by their path in the HDF5 file."""
    found: dict[str, np.ndarray] = {}
    content = http.get(f"/api/v1/models/{model}/versions/{number}/files/model.weights.h5").data
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found
