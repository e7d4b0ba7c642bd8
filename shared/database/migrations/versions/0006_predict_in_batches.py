"""predict in batches"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("batch", sa.JSON()))
    op.create_table(
        "batch_files",
        sa.Column("job_id", sa.Uuid(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("name", sa.String(100), primary_key=True),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("kept_files.sha256"), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "batch_parts",
        sa.Column("job_id", sa.Uuid(), sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.String(64), sa.ForeignKey("kept_files.sha256"), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
    )
    for table in ("batch_files", "batch_parts"):
        op.create_index(op.f(f"ix_{table}_sha256"), table, ["sha256"])


def downgrade() -> None:
    for table in ("batch_parts", "batch_files"):
        op.drop_table(table)
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("batch")
