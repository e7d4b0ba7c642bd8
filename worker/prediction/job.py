"""A job that predicts: on from where the attempt before it had come, part by part, in order."""

import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import orjson

from shared.database.tables.jobs import Job
from shared.datasets import revisions
from shared.errors import ArtifactDamaged, DatasetNotFound, DatasetUnavailable, ServiceError
from shared.inference.inputs import rows_of
from shared.inference.predictions import Answer, answer_of
from shared.inference.servable import LoadedVersion, load_version
from shared.jobs import batch_predictions, lifecycle
from shared.jobs.batch_predictions import Batch
from shared.jobs.events import problem_of
from shared.registry import versions
from shared.spec.batch_prediction import BatchSpec
from shared.storage import tracked_files
from shared.storage.tracked_files import FilesSwept
from worker.lease import JobCancelled, Lease, WorkerLeaves
from worker.prediction.items import BatchItems

if TYPE_CHECKING:
    from worker.context import Yard

SECONDS_OF_A_PART = 5.0
"""So much is done again when the process is lost."""
ROWS_AT_ONCE = 64
BYTES_AT_ONCE = 16 * 2**20
THREADS = os.cpu_count() or 1


def predict_batch(yard: "Yard", job: Job, lease: Lease, folder: Path) -> None:
    """Raises LeaseLost, JobCancelled, WorkerLeaves, DatasetUnavailable, or the ServiceError that its version meets."""
    spec = BatchSpec.model_validate(job.spec)
    with yard.sessions() as session:
        version = versions.get_version(session, spec.model, str(spec.version))
    loaded = load_version(version, yard.artifacts)
    items = _open(yard, job, spec)
    prediction = _Prediction(yard, job, lease, loaded, items, folder)
    prediction.run(spec.top)
    lease.settle()
    lease.insist(partial(lifecycle.finish_batch, job_id=job.id, attempt=job.attempt))


def _open(yard: "Yard", job: Job, spec: BatchSpec) -> BatchItems:
    copies = yard.cache_dir / "uploaded"
    try:
        with yard.sessions() as session:
            revision = revisions.get_revision(session, spec.dataset) if spec.dataset is not None else None
            files = batch_predictions.files_of(session, job.id)
        if revision is not None:
            return BatchItems(revisions.uploaded_data(revision, yard.artifacts, copies).files)
        return BatchItems({file.name: yard.artifacts.local_path(file.sha256, copies) for file in files})
    except (DatasetNotFound, ArtifactDamaged) as error:
        raise DatasetUnavailable(error.detail) from error


class _Prediction:
    def __init__(
        self, yard: "Yard", job: Job, lease: Lease, loaded: LoadedVersion, items: BatchItems, folder: Path
    ) -> None:
        self._yard = yard
        self._job = job
        self._lease = lease
        self._loaded = loaded
        self._contract = loaded.description.preprocessing
        self._items = items
        self._part = folder / "part.jsonl"
        self._batch = Batch.model_validate(job.batch)
        self._lines: list[bytes] = []
        self._failed = 0

    def run(self, top: int) -> None:
        """What is answered is written, however it ends, as long as the job is held."""
        try:
            self._predict(top)
        except (JobCancelled, WorkerLeaves):
            self._write_part()
            raise
        self._write_part()

    def _predict(self, top: int) -> None:
        """Every thread prepares some inputs and runs the network; their answers are taken in order."""
        began, first = time.monotonic(), self._batch.done
        part_began = began
        starts = iter(range(first, self._batch.rows, self._step))
        with ThreadPoolExecutor(THREADS) as threads:
            coming = deque(threads.submit(self._answers, start, top) for start in islice(starts, 2 * THREADS))
            done = first
            while coming:
                self._lease.check()
                answers = coming.popleft().result()
                coming.extend(threads.submit(self._answers, start, top) for start in islice(starts, 1))
                self._failed += sum("problem" in answer for answer in answers)
                self._lines += [_line(row, self._items.name(row), answer) for row, answer in enumerate(answers, done)]
                done += len(answers)
                if time.monotonic() - part_began > SECONDS_OF_A_PART:
                    self._write_part()
                    part_began = time.monotonic()
                self._tell(first, done, time.monotonic() - began)
                if self._lease.is_leaving():
                    self._lease.leave()
                if self._lease.is_stopping():
                    break

    @property
    def _step(self) -> int:
        row_bytes = 4 * int(np.prod(self._contract.input_shape))
        return max(1, min(ROWS_AT_ONCE, BYTES_AT_ONCE // row_bytes))

    def _answers(self, start: int, top: int) -> list[Answer]:
        inputs = self._items.read(start, min(start + self._step, self._batch.rows))
        rows, read = rows_of(inputs, self._contract, self._yard.image_limits)
        outputs = iter(self._loaded.run(np.stack(rows)) if rows else ())
        return [
            {"problem": problem_of(found)}
            if isinstance(found, ServiceError)
            else answer_of(next(outputs), found, self._loaded.description, top)
            for found in read
        ]

    def _write_part(self) -> None:
        if not self._lines:
            return
        self._part.write_bytes(b"".join(self._lines))
        while True:
            (file,) = tracked_files.keep(self._yard.sessions, self._yard.artifacts, [self._part])
            add = partial(
                batch_predictions.add_part,
                job_id=self._job.id,
                attempt=self._job.attempt,
                sha256=file.sha256,
                rows=len(self._lines),
                failed=self._failed,
            )
            try:
                self._batch = self._lease.insist(add)
                break
            except FilesSwept:  # between its writing and its naming: once more
                continue
        self._lines, self._failed = [], 0

    def _tell(self, first: int, done: int, seconds: float) -> None:
        rows = self._batch.rows
        self._lease.progress(
            {
                "rows": rows,
                "done": done,
                "failed": self._batch.failed + self._failed,
                "percent": round(100 * done / rows, 1),
                "seconds_left": round(seconds * (rows - done) / (done - first), 1),
            }
        )


def _line(row: int, name: str | None, answer: Answer) -> bytes:
    line = {"row": row, "name": name, **answer}
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
