"""What must hold after all of it."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from shared.database.engine import Sessions
from shared.database.tables.datasets import RevisionFile
from shared.database.tables.files import TrackedFile
from shared.database.tables.jobs import ENDED, Job, JobEpoch, JobEvent, JobStatus
from shared.database.tables.registry import Version, VersionFile
from tests.chaos.clients import Ledger, Told

SECONDS_TO_SWEEP = 60.0


@dataclass(frozen=True)
class Outcome:
    """All that the database says of one job."""

    job: Job
    versions: list[Version]
    events: list[int]
    epochs: list[int]


def violations(ledger: Ledger, sessions: Sessions, artifacts: Path, twins: dict[str, str]) -> list[str]:
    outcomes = _outcomes(sessions)
    found = list(ledger.complaints)
    for told in ledger.told:
        found += _broken_promises(told, outcomes.get(told.job), twins)
    for outcome in outcomes.values():
        found += _contradictions(outcome)
    return found + _file_violations(sessions, artifacts)


def _outcomes(sessions: Sessions) -> dict[str, Outcome]:
    with sessions() as session:
        outcomes = {job.id: Outcome(job, [], [], []) for job in session.scalars(select(Job))}
        for version in session.scalars(select(Version)):
            outcomes[version.job_id].versions.append(version)
        for event in session.scalars(select(JobEvent).order_by(JobEvent.number)):
            outcomes[event.job_id].events.append(event.number)
        for epoch in session.scalars(select(JobEpoch).order_by(JobEpoch.epoch)):
            outcomes[epoch.job_id].epochs.append(epoch.epoch)
    return {str(job_id): outcome for job_id, outcome in outcomes.items()}


def _broken_promises(told: Told, outcome: Outcome | None, twins: dict[str, str]) -> list[str]:
    if outcome is None:
        return [f"job {told.job} was accepted and is not there"]
    if outcome.job.status not in told.may_end:
        expected = " or ".join(sorted(told.may_end))
        return [f"job {told.job} is {outcome.job.status}, and its client expects {expected}: {outcome.job.error}"]
    return [
        f"job {told.job}, {told.spec}: its weights are not those of the undisturbed training"
        for version in outcome.versions
        if not told.stopped and version.manifest["weights_digest"] != twins[told.spec]
    ]


def _contradictions(outcome: Outcome) -> Iterator[str]:
    job = outcome.job
    if job.status not in ENDED:
        yield f"job {job.id} is stuck: {job.status}, attempt {job.attempt}, worker {job.worker}"
    if len(outcome.versions) != (job.status == JobStatus.SUCCEEDED):
        yield f"job {job.id} is {job.status} and has {len(outcome.versions)} versions"
    if outcome.events != list(range(1, job.last_event + 1)):
        yield f"job {job.id}: its events are not numbered from 1 to {job.last_event}"
    if outcome.epochs != list(range(1, len(outcome.epochs) + 1)):
        yield f"job {job.id}: its curve has gaps: {outcome.epochs}"


def _file_violations(sessions: Sessions, artifacts: Path) -> list[str]:
    """What nothing names is swept, a while later."""
    give_up_at = time.monotonic() + SECONDS_TO_SWEEP
    while True:
        named = _named_files(sessions)
        files = {path.name: path for path in artifacts.rglob("*") if path.is_file()}
        orphans = set(files) - named
        if not orphans or time.monotonic() > give_up_at:
            break
        time.sleep(1)
    found = [f"file {name} is named by nothing" for name in orphans]
    for digest in named:
        if digest not in files:
            found.append(f"file {digest} is named and not there")
        elif hashlib.sha256(files[digest].read_bytes()).hexdigest() != digest:
            found.append(f"file {digest} is damaged")
    with sessions() as session:
        unknown = named - set(session.scalars(select(TrackedFile.sha256)))
    return found + [f"file {digest} is named and not known" for digest in unknown]


def _named_files(sessions: Sessions) -> set[str]:
    with sessions() as session:
        columns = (VersionFile.sha256, RevisionFile.sha256, Job.checkpoint_file)
        return {digest for column in columns for digest in session.scalars(select(column)) if digest is not None}
