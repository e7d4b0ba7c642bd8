"""reference the revision and the inline data that a job trains on"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

REFERENCES = (("dataset_revision_id", "dataset_revisions", "id"), ("inline_file", "tracked_files", "sha256"))
JOBS = sa.table(
    "jobs", sa.column("id", sa.Uuid), sa.column("kind"), sa.column("spec", sa.JSON), sa.column("dataset_revision_id")
)
REVISIONS = sa.table("dataset_revisions", sa.column("id"), sa.column("dataset"), sa.column("number"))


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("dataset_revision_id", sa.Integer(), nullable=True))
        jobs.add_column(sa.Column("inline_file", sa.String(64), nullable=True))
        for column, table, key in REFERENCES:
            jobs.create_foreign_key(f"fk_jobs_{column}_{table}", table, [column], [key])
            jobs.create_index(f"ix_jobs_{column}", [column])
    # The copy of a table in SQLite loses the order of the column: 0007 made one, and the lines above another.
    op.drop_index("ix_jobs_head", "jobs")
    op.create_index("ix_jobs_head", "jobs", ["status", "owner", sa.text("priority DESC"), "created_at", "id"])
    _find_revisions()


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        for column, table, _ in REFERENCES:
            jobs.drop_index(f"ix_jobs_{column}")
            jobs.drop_constraint(f"fk_jobs_{column}_{table}", type_="foreignkey")
            jobs.drop_column(column)


def _find_revisions() -> None:
    """Set the revision of each job whose spec names one, as `name@number`."""
    connection = op.get_bind()
    revisions = {f"{row.dataset}@{row.number}": row.id for row in connection.execute(sa.select(REVISIONS))}
    spec = JOBS.c.spec
    named = {"training": spec["dataset"]["name"].as_string(), "prediction": spec["dataset"].as_string()}
    for kind, name in named.items():
        rows = connection.execute(sa.select(JOBS.c.id, name.label("name")).where(JOBS.c.kind == kind)).all()
        for row in rows:
            if (found := revisions.get(row.name)) is not None:
                connection.execute(sa.update(JOBS).where(JOBS.c.id == row.id).values(dataset_revision_id=found))
