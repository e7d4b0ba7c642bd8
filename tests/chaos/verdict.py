"""Check the database and the files after the chaos test."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import undefer

from shared.database.engine import Sessions
from shared.database.tables.datasets import RevisionFile
from shared.database.tables.files import TrackedFile
from shared.database.tables.jobs import ENDED, Job, JobEpoch, JobEvent, JobStatus
from shared.database.tables.registry import Version, VersionFile
from tests.chaos.clients import Ledger, Told

SECONDS_TO_DELETE_ORPHANS = 60.0


@dataclass(frozen=True)
class Outcome:
    """The rows of the database about one job, with the numbers of its events and epochs in order."""

    job: Job
    versions: list[Version]
    events: list[int]
    epochs: list[int]


def violations(ledger: Ledger, sessions: Sessions, artifacts: Path, twins: dict[str, str]) -> list[str]:
    """List everything that contradicts the answers of the API or the rules of the database and the files.

    Args:
        twins: digest of the weights that each spec gives without faults, by name of the spec.
    """
    outcomes = _load_outcomes(sessions)
    found = list(ledger.complaints)
    for told in ledger.told:
        found += _check_answers(told, outcomes.get(told.job), twins)
    for outcome in outcomes.values():
        found += _check_job(outcome)
    return found + _check_files(sessions, artifacts)


def _load_outcomes(sessions: Sessions) -> dict[str, Outcome]:
    with sessions() as session:
        outcomes = {job.id: Outcome(job, [], [], []) for job in session.scalars(select(Job))}
        for version in session.scalars(select(Version).options(undefer(Version.manifest))):
            outcomes[version.job_id].versions.append(version)
        for event in session.scalars(select(JobEvent).order_by(JobEvent.number)):
            outcomes[event.job_id].events.append(event.number)
        for epoch in session.scalars(select(JobEpoch).order_by(JobEpoch.epoch)):
            outcomes[epoch.job_id].epochs.append(epoch.epoch)
    return {str(job_id): outcome for job_id, outcome in outcomes.items()}


def _check_answers(told: Told, outcome: Outcome | None, twins: dict[str, str]) -> list[str]:
    if outcome is None:
        return [f"job {told.job} was accepted and does not exist"]
    if outcome.job.status not in told.may_end:
        expected = " or ".join(sorted(told.may_end))
        return [f"job {told.job} is {outcome.job.status}, and its client expects {expected}: {outcome.job.error}"]
    return [
        f"job {told.job}, {told.spec}: its weights differ from those of the training without faults"
        for version in outcome.versions
        if not told.stopped and version.manifest["weights_digest"] != twins[told.spec]
    ]


def _check_job(outcome: Outcome) -> Iterator[str]:
    job = outcome.job
    if job.status not in ENDED:
        yield f"job {job.id} is stuck: {job.status}, attempt {job.attempt}, worker {job.worker}"
    if len(outcome.versions) != (job.status == JobStatus.SUCCEEDED):
        yield f"job {job.id} is {job.status} and has {len(outcome.versions)} versions"
    if outcome.events != list(range(1, job.last_event + 1)):
        yield f"job {job.id}: its events are not numbered from 1 to {job.last_event}"
    if outcome.epochs != list(range(1, len(outcome.epochs) + 1)):
        yield f"job {job.id}: its epochs have gaps: {outcome.epochs}"


def _check_files(sessions: Sessions, artifacts: Path) -> list[str]:
    """List orphaned, missing, damaged and untracked files. Waits for the scheduler to delete orphaned files first."""
    give_up_at = time.monotonic() + SECONDS_TO_DELETE_ORPHANS
    while True:
        referenced = _list_referenced_files(sessions)
        files = {path.name: path for path in artifacts.rglob("*") if path.is_file()}
        orphans = set(files) - referenced
        if not orphans or time.monotonic() > give_up_at:
            break
        time.sleep(1)
    found = [f"file {name} is an orphan: no row refers to it" for name in orphans]
    for digest in referenced:
        if digest not in files:
            found.append(f"file {digest} is referenced and does not exist")
        elif hashlib.sha256(files[digest].read_bytes()).hexdigest() != digest:
            found.append(f"file {digest} is damaged")
    with sessions() as session:
        unknown = referenced - set(session.scalars(select(TrackedFile.sha256)))
    return found + [f"file {digest} is referenced and not tracked" for digest in unknown]


def _list_referenced_files(sessions: Sessions) -> set[str]:
    with sessions() as session:
        columns = (VersionFile.sha256, RevisionFile.sha256, Job.checkpoint_file)
        return {digest for column in columns for digest in session.scalars(select(column)) if digest is not None}
