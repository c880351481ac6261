"""who holds a backup"""

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
    # What disks make is kept from a row's next change on: until then a lock looks first.
    op.execute(
        "UPDATE backup SET image = (SELECT min(image) FROM image_lock"
        " WHERE image_lock.backup = backup.name AND image_lock.state <> 'RELEASED')"
        " WHERE EXISTS (SELECT 1 FROM image_lock"
        " WHERE image_lock.backup = backup.name AND image_lock.state <> 'RELEASED')"
    )


def downgrade() -> None:
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.drop_column("disks_make_image")
        batch_op.drop_column("image")
