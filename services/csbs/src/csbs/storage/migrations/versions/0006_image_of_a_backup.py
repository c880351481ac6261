"""image that holds a backup"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.add_column(sa.Column("image", sa.String(), server_default="", nullable=False))
        batch_op.add_column(
            sa.Column("disks_make_image", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    held = "FROM image_lock WHERE image_lock.backup = backup.name AND image_lock.state <> 'RELEASED'"
    op.execute(
        f"UPDATE backup SET image = (SELECT image {held} ORDER BY token DESC LIMIT 1)"
        f" WHERE EXISTS (SELECT 1 {held})"
    )
    # An older replica would lock and release without a write of `image`: the renamed column makes it fail.
    op.execute("ALTER TABLE image_lock RENAME COLUMN token TO fencing_token")


def downgrade() -> None:
    op.execute("ALTER TABLE image_lock RENAME COLUMN fencing_token TO token")
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.drop_column("disks_make_image")
        batch_op.drop_column("image")
