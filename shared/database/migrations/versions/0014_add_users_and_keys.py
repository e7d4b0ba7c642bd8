"""add users, projects, keys, browser sessions, invitations and audit events"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
AUDIT_DAYS = 400
MESSAGE = "audit events cannot be changed"


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("login", sa.String(255), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("disabled_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("login", name=op.f("pk_users")),
    )
    op.create_table(
        "projects",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("archived_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_projects")),
    )
    op.create_table(
        "members",
        sa.Column("project", sa.String(100), nullable=False),
        sa.Column("login", sa.String(255), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_members_project")),
        sa.ForeignKeyConstraint(["login"], ["users.login"], name=op.f("fk_members_login")),
        sa.PrimaryKeyConstraint("project", "login", name=op.f("pk_members")),
    )
    op.create_index("ix_members_login", "members", ["login"])
    op.create_table(
        "keys",
        sa.Column("id", sa.String(8), nullable=False),
        sa.Column("login", sa.String(255), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("secret_sha256", sa.String(64), nullable=False),
        sa.Column("previous_sha256", sa.String(64), nullable=True),
        sa.Column("previous_until", TIME, nullable=True),
        sa.Column("last4", sa.String(4), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("models", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("last_used_from", sa.String(45), nullable=True),
        sa.ForeignKeyConstraint(["login"], ["users.login"], name=op.f("fk_keys_login")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
    )
    op.create_index("ix_keys_login", "keys", ["login"])
    op.create_table(
        "browser_sessions",
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(8), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["keys.id"], name=op.f("fk_browser_sessions_key_id")),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_browser_sessions")),
    )
    op.create_index("ix_browser_sessions_key_id", "browser_sessions", ["key_id"])
    op.create_table(
        "invitations",
        sa.Column("id", sa.String(8), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("login", sa.String(255), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("project", sa.String(100), nullable=False),
        sa.Column("created_by", sa.String(255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("user_expires_at", TIME, nullable=True),
        sa.Column("used_at", TIME, nullable=True),
        sa.Column("is_reset", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["project"], ["projects.name"], name=op.f("fk_invitations_project")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_sha256", name=op.f("uq_invitations_token_sha256")),
    )
    op.create_index("ix_invitations_login", "invitations", ["login"])
    op.create_table(
        "access_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_state")),
    )
    op.create_table(
        "audit_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(255), nullable=False),
        sa.Column("key_id", sa.String(8), nullable=True),
        sa.Column("via", sa.String(20), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("object_kind", sa.String(20), nullable=False),
        sa.Column("object", sa.String(300), nullable=False),
        sa.Column("before", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("after", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("request_id", sa.String(200), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
    )
    op.create_index("ix_audit_events_at", "audit_events", ["at"])
    op.create_index("ix_audit_events_actor_id", "audit_events", ["actor", "id"])
    op.create_index("ix_audit_events_object_kind_object_id", "audit_events", ["object_kind", "object", "id"])
    for table in ("models", "datasets"):
        op.add_column(table, sa.Column("created_by", sa.String(255), nullable=True))
    for table in ("models", "datasets", "jobs"):
        op.add_column(table, sa.Column("project", sa.String(100), nullable=False, server_default="default"))
    op.add_column("models", sa.Column("predictions", sa.String(20), nullable=False, server_default="project"))
    for table in ("datasets", "jobs"):
        op.add_column(table, sa.Column("visibility", sa.String(20), nullable=False, server_default="project"))
    for column in ("project", "owner"):
        op.create_index(f"ix_jobs_{column}_created_at_id", "jobs", [column, "created_at", "id"])
    op.execute(
        "UPDATE models SET created_by = (SELECT jobs.owner FROM versions JOIN jobs ON jobs.id = versions.job_id "
        "WHERE versions.model = models.name AND jobs.owner <> 'anonymous' ORDER BY versions.number LIMIT 1)"
    )
    op.execute("INSERT INTO access_state (id, generation) VALUES (1, 0)")
    op.execute(
        "INSERT INTO users (login, name, kind, is_admin, created_at) SELECT name, '', 'external', "
        "name = 'anonymous', CURRENT_TIMESTAMP FROM owners WHERE name <> 'anonymous'"
    )
    op.execute("INSERT INTO projects (name, description, created_at) VALUES ('default', '', CURRENT_TIMESTAMP)")
    op.execute(
        "INSERT INTO members (project, login, role, created_at) SELECT 'default', login, 'member', CURRENT_TIMESTAMP "
        "FROM users"
    )
    _protect_audit_events()


def _protect_audit_events() -> None:
    """Create triggers that refuse every change of an audit event, and the deletion of all but very old ones."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{MESSAGE}'; END $$"
        )
        for name, event in (
            ("update", "BEFORE UPDATE ON audit_events FOR EACH ROW"),
            (
                "delete",
                f"BEFORE DELETE ON audit_events FOR EACH ROW WHEN (OLD.at > now() - interval '{AUDIT_DAYS} days')",
            ),
            ("truncate", "BEFORE TRUNCATE ON audit_events FOR EACH STATEMENT"),
        ):
            op.execute(f"CREATE TRIGGER audit_events_{name} {event} EXECUTE FUNCTION refuse_audit_change()")
        return
    for name, event in (
        ("update", "BEFORE UPDATE ON audit_events"),
        (
            "delete",
            f"BEFORE DELETE ON audit_events WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-{AUDIT_DAYS} days')",
        ),
    ):
        op.execute(f"CREATE TRIGGER audit_events_{name} {event} BEGIN SELECT RAISE(ABORT, '{MESSAGE}'); END")


def downgrade() -> None:
    for column in ("project", "owner"):
        op.drop_index(f"ix_jobs_{column}_created_at_id", "jobs")
    for table in ("datasets", "jobs"):
        op.drop_column(table, "visibility")
    op.drop_column("models", "predictions")
    for table in ("models", "datasets", "jobs"):
        op.drop_column(table, "project")
    for table in ("models", "datasets"):
        op.drop_column(table, "created_by")
    for name in (
        "audit_events",
        "access_state",
        "invitations",
        "browser_sessions",
        "keys",
        "members",
        "projects",
        "users",
    ):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_audit_change")
