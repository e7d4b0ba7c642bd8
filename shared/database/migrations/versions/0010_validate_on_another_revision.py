"""reference the revision whose rows monitor a training"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

COLUMN, TABLE = "validation_revision_id", "dataset_revisions"


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column(COLUMN, sa.Integer(), nullable=True))
        jobs.create_foreign_key(f"fk_jobs_{COLUMN}_{TABLE}", TABLE, [COLUMN], ["id"])
        jobs.create_index(f"ix_jobs_{COLUMN}", [COLUMN])
    _restore_order()


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index(f"ix_jobs_{COLUMN}")
        jobs.drop_constraint(f"fk_jobs_{COLUMN}_{TABLE}", type_="foreignkey")
        jobs.drop_column(COLUMN)
    _restore_order()


def _restore_order() -> None:
    """Make the index for the next job again: the copy of a table in SQLite loses the order of a column."""
    op.drop_index("ix_jobs_head", "jobs")
    op.create_index("ix_jobs_head", "jobs", ["status", "owner", sa.text("priority DESC"), "created_at", "id"])
