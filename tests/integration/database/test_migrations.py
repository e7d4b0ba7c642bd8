"""Test that the migrations create the declared tables."""

from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from shared.access import audit
from shared.database.engine import Sessions, make_engine
from shared.database.tables.access import Member, User
from shared.database.tables.base import Base
from shared.database.tables.jobs import ANONYMOUS, Job
from shared.database.tables.registry import Model, Version
from shared.datasets import revisions
from shared.datasets.info import DatasetInfo, TargetKind
from shared.jobs import batch_predictions, submission
from shared.jobs.batch_predictions import BatchState
from shared.settings import Settings
from shared.spec.batch_prediction import BatchSpec
from shared.spec.training import TrainingSpec
from tests.support.databases import ROOT
from tests.support.examples import DIGITS, XOR, changed

DESCENDING_INDEX = "ix_jobs_head"
"""Left out of the comparison: Alembic cannot compare an index with a column in descending order."""
DEFINITIONS = {
    "sqlite": "SELECT sql FROM sqlite_master WHERE name = :name",
    "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = :name",
}


@pytest.mark.filterwarnings("ignore:.*expression-based index")
def test_the_migrations_create_the_declared_tables(settings: Settings) -> None:
    engine = make_engine(settings.database_url)

    def is_comparable(_: object, name: str | None, kind: str, *__: Any) -> bool:
        return (kind, name) != ("index", DESCENDING_INDEX)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_comparable})
        differences = compare_metadata(context, Base.metadata)
        definition = connection.execute(text(DEFINITIONS[engine.dialect.name]), {"name": DESCENDING_INDEX}).scalar_one()

    engine.dispose()
    assert differences == []
    assert "(status, owner, priority DESC, created_at, id)" in definition


def test_jobs_of_an_earlier_release_refer_to_their_data(
    settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = DatasetInfo((2,), images=False, targets=TargetKind.INTEGERS, train_rows=4, test_rows=0)
    batch = BatchState(version=1, rows=4, columns=())
    common = {"model": "flowers", "priority": 0, "tags": {}, "notes": ""}
    with sessions.begin() as session:
        revisions.add_revision(session, "flowers", "1", info, {}, [])
        revision, _ = revisions.add_revision(session, "flowers", "2", info, {}, [])
        submission.create_job(session, TrainingSpec.model_validate(XOR))
        submission.create_job(session, TrainingSpec.model_validate(changed(DIGITS, "dataset.name", "flowers@2")))
        spec = BatchSpec.model_validate({**common, "version": 1, "dataset": "flowers@2", "top": 1})
        batch_predictions.create(session, spec, batch, [])
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", settings.database_url)
    config = Config(toml_file=ROOT / "pyproject.toml")

    command.downgrade(config, "0008")
    command.upgrade(config, "head")

    with sessions() as session:
        found = {job.model: job.dataset_revision_id for job in session.scalars(select(Job))}
    assert found == {"xor": None, "digits": revision.id, "flowers": revision.id}


def test_owners_of_an_earlier_release_become_users_and_own_their_models(
    settings: Settings, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sessions.begin() as session:
        for owner, model in (("kim@lab", "digits"), (ANONYMOUS, "other")):
            spec = TrainingSpec.model_validate(changed(DIGITS, "model", model))
            job = submission.create_job(session, spec, owner)
            session.add(Model(name=model, last_number=1))
            session.flush()
            session.add(Version(model=model, number=1, job_id=job.id, manifest={}))
    sessions.kw["bind"].dispose()
    monkeypatch.setenv("TRAINYARD_DATABASE_URL", settings.database_url)
    config = Config(toml_file=ROOT / "pyproject.toml")

    command.downgrade(config, "0013")
    command.upgrade(config, "head")

    with sessions() as session:
        users = [(user.login, user.kind, user.is_admin, user.disabled_at) for user in session.scalars(select(User))]
        members = [(member.project, member.login, member.role) for member in session.scalars(select(Member))]
        jobs = session.execute(select(Job.project, Job.visibility).distinct()).one()
        created_by = {model.name: model.created_by for model in session.scalars(select(Model))}
        generation = audit.read_generation(session)
    assert users == [("kim@lab", "external", False, None)]
    assert members == [("default", "kim@lab", "member")]
    assert jobs == ("default", "project")
    assert created_by == {"digits": "kim@lab", "other": None}
    assert generation == 0
