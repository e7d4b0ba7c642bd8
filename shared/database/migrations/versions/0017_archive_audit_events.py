"""add archives of old audit events"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "audit_archives",
        sa.Column("first_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sha256"], ["tracked_files.sha256"], name=op.f("fk_audit_archives_sha256_tracked_files")
        ),
        sa.PrimaryKeyConstraint("first_id", name=op.f("pk_audit_archives")),
    )
    op.create_index("ix_audit_archives_sha256", "audit_archives", ["sha256"])


def downgrade() -> None:
    op.drop_table("audit_archives")
