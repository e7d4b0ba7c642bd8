"""keep data sets"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("last_number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_datasets")),
    )
    op.create_table(
        "dataset_revisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset", sa.String(length=100), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("description", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["datasets.name"], name=op.f("fk_dataset_revisions_dataset")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_revisions")),
        sa.UniqueConstraint("dataset", "digest", name=op.f("uq_dataset_revisions_dataset_digest")),
        sa.UniqueConstraint("dataset", "number", name=op.f("uq_dataset_revisions_dataset_number")),
    )
    op.create_table(
        "dataset_files",
        sa.Column("revision_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["revision_id"], ["dataset_revisions.id"], name=op.f("fk_dataset_files_revision_id")),
        sa.PrimaryKeyConstraint("revision_id", "name", name=op.f("pk_dataset_files")),
    )


def downgrade() -> None:
    op.drop_table("dataset_files")
    op.drop_table("dataset_revisions")
    op.drop_table("datasets")
