"""name columns by the field's words, and give jobs a kind"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

RENAMED = (
    ("jobs", "losses", "consecutive_lost_attempts"),
    ("jobs", "ready_at", "scheduled_at"),
    ("owners", "served_at", "last_claimed_at"),
    ("versions", "description", "manifest"),
    ("dataset_revisions", "facts", "info"),
)


def upgrade() -> None:
    for table, old, new in RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    op.rename_table("kept_files", "tracked_files")
    _rename_primary_key("pk_kept_files", "pk_tracked_files")
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("kind", sa.String(20), nullable=False, server_default="training"))
    op.execute("UPDATE jobs SET kind = 'prediction' WHERE batch IS NOT NULL")
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("kind", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("kind")
    _rename_primary_key("pk_tracked_files", "pk_kept_files")
    op.rename_table("tracked_files", "kept_files")
    for table, old, new in RENAMED:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {new} TO {old}")


def _rename_primary_key(old: str, new: str) -> None:
    """SQLite gives a primary key no name that could be changed."""
    if op.get_context().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX IF EXISTS {old} RENAME TO {new}")
