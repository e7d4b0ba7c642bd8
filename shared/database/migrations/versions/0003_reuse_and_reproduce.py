"""reuse and reproduce trainings"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("training_digest", sa.String(length=64), nullable=False, server_default=""))
        jobs.add_column(sa.Column("reproduces", sa.JSON(none_as_null=True), nullable=True))
        jobs.add_column(sa.Column("reproduction", sa.JSON(none_as_null=True), nullable=True))
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("training_digest", server_default=None)
        jobs.create_index(op.f("ix_jobs_training_digest_status"), ["training_digest", "status"])


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index(op.f("ix_jobs_training_digest_status"))
        jobs.drop_column("reproduction")
        jobs.drop_column("reproduces")
        jobs.drop_column("training_digest")
