"""column `serialized`"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE image RENAME COLUMN shown TO serialized")


def downgrade() -> None:
    op.execute("ALTER TABLE image RENAME COLUMN serialized TO shown")
