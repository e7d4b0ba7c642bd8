"""add quotas, rates of keys, and records of what attempts have used"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for name in ("held_at", "renewed_at"):
        op.add_column("jobs", sa.Column(name, TIME, nullable=True))
    op.add_column("keys", sa.Column("rate", sa.Integer(), nullable=True))
    op.create_table(
        "usage_records",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("project", sa.String(100), nullable=False),
        sa.Column("device", sa.String(10), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("ended_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_usage_records")),
    )
    op.create_index("ix_usage_records_owner_ended_at", "usage_records", ["owner", "ended_at"])
    op.create_index("ix_usage_records_project_ended_at", "usage_records", ["project", "ended_at"])
    op.create_index("ix_usage_records_ended_at", "usage_records", ["ended_at"])
    op.create_table(
        "quotas",
        sa.Column("subject_kind", sa.String(10), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("most", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject_kind", "subject", "kind", name=op.f("pk_quotas")),
    )


def downgrade() -> None:
    op.drop_table("quotas")
    op.drop_table("usage_records")
    op.drop_column("keys", "rate")
    for name in ("held_at", "renewed_at"):
        op.drop_column("jobs", name)
