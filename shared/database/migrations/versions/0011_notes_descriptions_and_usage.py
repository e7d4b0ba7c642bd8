"""edit the notes of jobs, describe models, and tell what workers use"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("notes", sa.Text(), nullable=False, server_default=""))
    op.add_column("workers", sa.Column("usage", sa.JSON(), nullable=True))
    op.add_column("models", sa.Column("description", sa.Text(), nullable=False, server_default=""))
    jobs = sa.table("jobs", sa.column("notes", sa.Text()), sa.column("spec", sa.JSON()))
    notes = jobs.c.spec["notes"].as_string()
    op.execute(jobs.update().where(notes != "").values(notes=notes))


def downgrade() -> None:
    op.drop_column("workers", "usage")
    op.drop_column("models", "description")
    op.drop_column("jobs", "notes")
