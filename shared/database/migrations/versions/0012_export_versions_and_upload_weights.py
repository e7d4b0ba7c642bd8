"""export versions in the formats of other systems, and begin with uploaded weights"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("export", sa.JSON(), nullable=True))
        jobs.add_column(sa.Column("weights_file", sa.String(64), nullable=True))
        jobs.create_foreign_key("fk_jobs_weights_file_tracked_files", "tracked_files", ["weights_file"], ["sha256"])
        jobs.create_index("ix_jobs_weights_file", ["weights_file"])
    # The copy of a table in SQLite loses the order of the column, as in 0009.
    op.drop_index("ix_jobs_head", "jobs")
    op.create_index("ix_jobs_head", "jobs", ["status", "owner", sa.text("priority DESC"), "created_at", "id"])


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index("ix_jobs_weights_file")
        jobs.drop_constraint("fk_jobs_weights_file_tracked_files", type_="foreignkey")
        jobs.drop_column("weights_file")
        jobs.drop_column("export")
