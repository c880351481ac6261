"""column `serialized`, with the image that holds the backup"""

import sqlalchemy as sa
from alembic import op

from recast.csbs.v1 import backup_pb2 as pb

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE backup RENAME COLUMN shown TO serialized")
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.drop_column("disks_make_image")
    connection = op.get_bind()
    held = "SELECT name, image, serialized FROM backup WHERE image <> '' AND length(serialized) > 0"
    change = sa.text("UPDATE backup SET serialized = :serialized WHERE name = :name")
    for name, image, serialized in connection.execute(sa.text(held)).all():
        # Concatenated messages are parsed as one message: a field of the later one wins.
        merged = bytes(serialized) + pb.Backup(image=image).SerializeToString()
        connection.execute(change, {"serialized": merged, "name": name})


def downgrade() -> None:
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("disks_make_image", sa.Boolean(), server_default=sa.false(), nullable=False)
        )
    op.execute("ALTER TABLE backup RENAME COLUMN serialized TO shown")
