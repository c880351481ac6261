"""failed_undos counts failures past the decision too"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE operation RENAME COLUMN failed_undos TO failures")


def downgrade() -> None:
    op.execute("ALTER TABLE operation RENAME COLUMN failures TO failed_undos")
