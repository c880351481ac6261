"""one image of a backup"""

import sqlalchemy as sa
from alembic import op
from google.rpc import status_pb2

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_STANDS_ON_BACKUP = (
    "kind = 'FULL_SERVER' AND source_backup <> '' AND (state IN ('CREATING', 'NORMAL') OR lock_token <> 0)"
)


def upgrade() -> None:
    _fail_second_images(op.get_bind())
    with op.batch_alter_table("image") as batch_op:
        batch_op.add_column(sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false()))
    where = sa.text(_STANDS_ON_BACKUP)
    op.create_index(
        "image_of_backup", "image", ["source_backup"], unique=True, sqlite_where=where, postgresql_where=where
    )


def _fail_second_images(connection: sa.Connection) -> None:
    """Only the lock of CSBS kept a backup to one image: of several, that with the newest lock stays."""
    rows = connection.execute(
        sa.text(
            f"SELECT name, source_backup FROM image WHERE {_STANDS_ON_BACKUP} AND source_backup IN"
            f" (SELECT source_backup FROM image WHERE {_STANDS_ON_BACKUP}"
            " GROUP BY source_backup HAVING COUNT(*) > 1)"
            " ORDER BY source_backup, lock_token DESC, create_time, name"
        )
    ).all()
    first: dict[str, str] = {}
    for name, backup in rows:
        holder = first.setdefault(backup, name)
        if holder != name:
            problem = f"image {holder} stands on backup {backup} already; delete this image"
            error = status_pb2.Status(code=6, message=problem).SerializeToString()
            # Without its serialized message, which is built anew; its lock is a stale one.
            statement = (
                "UPDATE image SET state = 'ERROR', error = :error, lock_token = 0, serialized = :empty,"
                " version = version + 1 WHERE name = :name"
            )
            connection.execute(sa.text(statement), {"error": error, "empty": b"", "name": name})


def downgrade() -> None:
    op.drop_index("image_of_backup", "image")
    with op.batch_alter_table("image") as batch_op:
        batch_op.drop_column("withdrawn")
