"""Run a batch prediction. Its results are stored in parts, and a new attempt continues after the last part."""

import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import orjson

from shared.database.tables.jobs import Job
from shared.datasets import revisions
from shared.errors import ArtifactDamaged, DatasetNotFound, DatasetUnavailable, ServiceError
from shared.inference.inputs import preprocess_inputs
from shared.inference.predictions import PredictionDict, format_prediction
from shared.inference.servable import Servable, load_servable
from shared.jobs import batch_predictions, lifecycle
from shared.jobs.batch_predictions import BatchState
from shared.jobs.events import to_problem
from shared.jobs.lifecycle import LeaseLost
from shared.preprocessing.decoding import PixelBudget
from shared.registry import versions
from shared.spec.batch_prediction import BatchSpec
from shared.storage import tracked_files
from shared.storage.artifacts import StoredFile
from worker.context import WorkerContext
from worker.lease import JobCancelled, Lease, WorkerShutdown
from worker.prediction.items import PredictionItems

PART_SECONDS = 5.0
"""Time until results are stored as a part. This much work is repeated after the loss of the process."""
MAX_ROWS_PER_RUN = 64
MAX_BYTES_PER_RUN = 16 * 2**20
"""Limits of one call of the network: rows, and bytes of their input as float32."""
THREADS = os.cpu_count() or 1


def run_prediction_job(context: WorkerContext, job: Job, lease: Lease, folder: Path) -> None:
    """Predict the remaining inputs of the job, and end it as succeeded.

    Raises LeaseLost, JobCancelled, WorkerShutdown, DatasetUnavailable, or the ServiceError of its version.
    """
    spec = BatchSpec.model_validate(job.spec)
    with context.sessions() as session:
        version = versions.get_version(session, spec.model, str(spec.version))
    servable = load_servable(version, context.artifacts)
    items = _open_items(context, job, spec)
    prediction = _BatchPrediction(context, job, lease, servable, items, folder)
    prediction.run(spec.top)
    lease.flush()
    lease.write_with_retry(partial(lifecycle.finish_batch, job_id=job.id, attempt=job.attempt))


def _open_items(context: WorkerContext, job: Job, spec: BatchSpec) -> PredictionItems:
    copies = context.cache_dir / "uploaded"
    try:
        with context.sessions() as session:
            revision = revisions.get_revision(session, spec.dataset) if spec.dataset is not None else None
            files = batch_predictions.list_files(session, job.id)
        if revision is not None:
            return PredictionItems(revisions.open_revision(revision, context.artifacts, copies).files)
        return PredictionItems({file.name: context.artifacts.get_local_path(file.sha256, copies) for file in files})
    except (DatasetNotFound, ArtifactDamaged) as error:
        raise DatasetUnavailable(error.detail) from error


class _BatchPrediction:
    """One attempt of a batch prediction. `_lines` are the results that are not stored in a part yet."""

    def __init__(
        self, context: WorkerContext, job: Job, lease: Lease, servable: Servable, items: PredictionItems, folder: Path
    ) -> None:
        self._context = context
        self._job = job
        self._lease = lease
        self._servable = servable
        self._contract = servable.manifest.preprocessing
        self._items = items
        self._part = folder / "part.jsonl"
        self._batch = BatchState.model_validate(job.batch)
        self._lines: list[bytes] = []
        self._failed = 0

    def run(self, top: int) -> None:
        """Predict and store the remaining inputs. A cancellation or a shutdown also stores the results so far."""
        try:
            self._predict(top)
        except (JobCancelled, WorkerShutdown):
            self._write_part()
            raise
        self._write_part()

    def _predict(self, top: int) -> None:
        """Preprocess and predict inputs in several threads, and collect the results in the order of the inputs."""
        started_at, first = time.monotonic(), self._batch.done
        part_started_at = started_at
        starts = iter(range(first, self._batch.rows, self._rows_per_run))
        with ThreadPoolExecutor(THREADS) as threads:
            # The limit of submitted calls bounds the memory for inputs and results.
            pending = deque(threads.submit(self._predict_rows, start, top) for start in islice(starts, 2 * THREADS))
            done = first
            while pending:
                self._check(threads)
                answers = pending.popleft().result()
                pending.extend(threads.submit(self._predict_rows, start, top) for start in islice(starts, 1))
                self._failed += sum("problem" in answer for answer in answers)
                self._lines += [
                    _format_line(row, self._items.name(row), answer) for row, answer in enumerate(answers, done)
                ]
                done += len(answers)
                if time.monotonic() - part_started_at > PART_SECONDS:
                    self._write_part()
                    part_started_at = time.monotonic()
                self._report_progress(first, done, time.monotonic() - started_at)
                if self._lease.is_shutting_down():
                    self._lease.shut_down()
                if self._lease.is_stopping():
                    break

    def _check(self, threads: ThreadPoolExecutor) -> None:
        """Check the lease. Calls that have not begun are left out if the attempt has to end: its results are stored."""
        try:
            self._lease.check()
        except (JobCancelled, LeaseLost):
            threads.shutdown(wait=False, cancel_futures=True)
            raise

    @property
    def _rows_per_run(self) -> int:
        row_bytes = 4 * int(np.prod(self._contract.input_shape))
        return max(1, min(MAX_ROWS_PER_RUN, MAX_BYTES_PER_RUN // row_bytes))

    def _predict_rows(self, start: int, top: int) -> list[PredictionDict]:
        inputs = self._items.read(start, min(start + self._rows_per_run, self._batch.rows))
        rows, read = preprocess_inputs(inputs, self._contract, self._context.decoder, PixelBudget(None, ""))
        outputs = iter(self._servable.run(np.stack(rows)) if rows else ())
        return [
            {"problem": to_problem(found)}
            if isinstance(found, ServiceError)
            else format_prediction(next(outputs), found, self._servable.manifest, top)
            for found in read
        ]

    def _write_part(self) -> None:
        if not self._lines:
            return
        self._part.write_bytes(b"".join(self._lines))
        self._batch = tracked_files.store_and_reference(
            self._context.sessions, self._context.artifacts, [self._part], self._add_part
        )
        self._lines, self._failed = [], 0

    def _add_part(self, files: list[StoredFile]) -> BatchState:
        (file,) = files
        return self._lease.write_with_retry(
            partial(
                batch_predictions.add_part,
                job_id=self._job.id,
                attempt=self._job.attempt,
                sha256=file.sha256,
                rows=len(self._lines),
                failed=self._failed,
            )
        )

    def _report_progress(self, first: int, done: int, seconds: float) -> None:
        rows = self._batch.rows
        self._lease.report_progress(
            {
                "rows": rows,
                "done": done,
                "failed": self._batch.failed + self._failed,
                "percent": round(100 * done / rows, 1),
                "seconds_left": round(seconds * (rows - done) / (done - first), 1),
            }
        )


def _format_line(row: int, name: str | None, answer: PredictionDict) -> bytes:
    line = {"row": row, "name": name, **answer}
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE)
