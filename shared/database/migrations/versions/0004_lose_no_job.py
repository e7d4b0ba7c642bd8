"""lose no job: owners, checkpoints, files that are known, workers"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "owners",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("served_at", sa.DateTime(timezone=True)),
    )
    op.execute("INSERT INTO owners (name) SELECT 'anonymous' WHERE EXISTS (SELECT 1 FROM jobs)")
    op.create_table(
        "kept_files",
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.execute(
        "INSERT INTO kept_files (sha256, touched_at) SELECT sha256, CURRENT_TIMESTAMP FROM "
        "(SELECT sha256 FROM version_files UNION SELECT sha256 FROM dataset_files) AS named"
    )
    for table in ("version_files", "dataset_files"):
        with op.batch_alter_table(table) as files:
            files.create_foreign_key(op.f(f"fk_{table}_sha256"), "kept_files", ["sha256"], ["sha256"])
            files.create_index(op.f(f"ix_{table}_sha256"), ["sha256"])
    op.create_table(
        "workers",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
    )
    with op.batch_alter_table("jobs") as jobs:
        jobs.add_column(sa.Column("owner", sa.String(255), nullable=False, server_default="anonymous"))
        jobs.add_column(sa.Column("stop_asked", sa.Boolean(), nullable=False, server_default=sa.false()))
        jobs.add_column(sa.Column("events_trimmed", sa.Boolean(), nullable=False, server_default=sa.false()))
        jobs.add_column(sa.Column("ready_at", sa.DateTime(timezone=True)))
        jobs.add_column(sa.Column("checkpoint_file", sa.String(64)))
        jobs.add_column(sa.Column("checkpoint_epoch", sa.Integer(), nullable=False, server_default="0"))
        jobs.add_column(sa.Column("retry_of", sa.Uuid()))
        jobs.drop_constraint(op.f("uq_jobs_idempotency_key"), type_="unique")
        jobs.drop_index(op.f("ix_jobs_status_priority_created_at_id"))
    with op.batch_alter_table("jobs") as jobs:
        for column in ("owner", "stop_asked", "events_trimmed", "checkpoint_epoch"):
            jobs.alter_column(column, server_default=None)
        jobs.create_foreign_key(op.f("fk_jobs_owner"), "owners", ["owner"], ["name"])
        jobs.create_foreign_key(op.f("fk_jobs_checkpoint_file"), "kept_files", ["checkpoint_file"], ["sha256"])
        jobs.create_foreign_key(op.f("fk_jobs_retry_of"), "jobs", ["retry_of"], ["id"])
        jobs.create_unique_constraint(op.f("uq_jobs_owner_idempotency_key"), ["owner", "idempotency_key"])
        jobs.create_index(op.f("ix_jobs_status_created_at_id"), ["status", "created_at", "id"])
        jobs.create_index(op.f("ix_jobs_checkpoint_file"), ["checkpoint_file"])
        jobs.create_index(op.f("ix_jobs_retry_of"), ["retry_of"])
        jobs.create_index(op.f("ix_jobs_events_trimmed_ended_at"), ["events_trimmed", "ended_at"])
    op.create_index("ix_jobs_head", "jobs", ["status", "owner", sa.text("priority DESC"), "created_at", "id"])
    op.add_column("job_tags", sa.Column("created_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE job_tags SET created_at = (SELECT created_at FROM jobs WHERE jobs.id = job_tags.job_id)")
    with op.batch_alter_table("job_tags") as tags:
        tags.alter_column("created_at", nullable=False)
        tags.drop_index(op.f("ix_job_tags_key_value"))
        tags.create_index(op.f("ix_job_tags_key_value_created_at_job_id"), ["key", "value", "created_at", "job_id"])
        tags.create_index(op.f("ix_job_tags_key_created_at_job_id"), ["key", "created_at", "job_id"])


def downgrade() -> None:
    with op.batch_alter_table("job_tags") as tags:
        tags.drop_index(op.f("ix_job_tags_key_created_at_job_id"))
        tags.drop_index(op.f("ix_job_tags_key_value_created_at_job_id"))
        tags.create_index(op.f("ix_job_tags_key_value"), ["key", "value"])
        tags.drop_column("created_at")
    op.drop_index("ix_jobs_head", "jobs")
    with op.batch_alter_table("jobs") as jobs:
        for name in ("status_created_at_id", "checkpoint_file", "retry_of", "events_trimmed_ended_at"):
            jobs.drop_index(op.f(f"ix_jobs_{name}"))
        jobs.drop_constraint(op.f("uq_jobs_owner_idempotency_key"), type_="unique")
        for name in ("owner", "checkpoint_file", "retry_of"):
            jobs.drop_constraint(op.f(f"fk_jobs_{name}"), type_="foreignkey")
        for column in (
            "owner",
            "stop_asked",
            "events_trimmed",
            "ready_at",
            "checkpoint_file",
            "checkpoint_epoch",
            "retry_of",
        ):
            jobs.drop_column(column)
        jobs.create_unique_constraint(op.f("uq_jobs_idempotency_key"), ["idempotency_key"])
        jobs.create_index(op.f("ix_jobs_status_priority_created_at_id"), ["status", "priority", "created_at", "id"])
    for table in ("version_files", "dataset_files"):
        with op.batch_alter_table(table) as files:
            files.drop_constraint(op.f(f"fk_{table}_sha256"), type_="foreignkey")
            files.drop_index(op.f(f"ix_{table}_sha256"))
    for table in ("workers", "kept_files", "owners"):
        op.drop_table(table)
