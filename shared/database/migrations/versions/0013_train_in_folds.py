"""train in the folds of a cross-validation"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("cross_validation", sa.Uuid(), nullable=True))
    op.add_column("jobs", sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True))
    op.create_index("ix_jobs_cross_validation", "jobs", ["cross_validation"])


def downgrade() -> None:
    op.drop_index("ix_jobs_cross_validation", "jobs")
    op.drop_column("jobs", "metrics")
    op.drop_column("jobs", "cross_validation")
