"""add identities of users, and sessions of users who sign in without a key"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, length in (("issuer", 500), ("subject", 255)):
        op.add_column("users", sa.Column(name, sa.String(length), nullable=True))
    op.create_index("uq_users_issuer_subject", "users", ["issuer", "subject"], unique=True)
    op.add_column("browser_sessions", sa.Column("login", sa.String(255), nullable=True))
    op.execute(
        "UPDATE browser_sessions SET login = (SELECT keys.login FROM keys WHERE keys.id = browser_sessions.key_id)"
    )
    with op.batch_alter_table("browser_sessions") as table:
        table.alter_column("login", existing_type=sa.String(255), nullable=False)
        table.alter_column("key_id", existing_type=sa.String(8), nullable=True)
        table.create_foreign_key("fk_browser_sessions_login_users", "users", ["login"], ["login"])
    op.create_index("ix_browser_sessions_login", "browser_sessions", ["login"])


def downgrade() -> None:
    op.execute("DELETE FROM browser_sessions WHERE key_id IS NULL")
    op.drop_index("ix_browser_sessions_login", "browser_sessions")
    with op.batch_alter_table("browser_sessions") as table:
        table.alter_column("key_id", existing_type=sa.String(8), nullable=False)
        table.drop_constraint("fk_browser_sessions_login_users", type_="foreignkey")
        table.drop_column("login")
    op.drop_index("uq_users_issuer_subject", "users")
    for name in ("subject", "issuer"):
        op.drop_column("users", name)
