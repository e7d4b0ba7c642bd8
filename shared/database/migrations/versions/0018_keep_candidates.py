"""keep versions without a number: candidates, which are not published"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("versions") as table:
        table.alter_column("number", existing_type=sa.Integer(), nullable=True)


def downgrade() -> None:
    op.execute("DELETE FROM version_files WHERE version_id IN (SELECT id FROM versions WHERE number IS NULL)")
    op.execute("DELETE FROM versions WHERE number IS NULL")
    with op.batch_alter_table("versions") as table:
        table.alter_column("number", existing_type=sa.Integer(), nullable=False)
