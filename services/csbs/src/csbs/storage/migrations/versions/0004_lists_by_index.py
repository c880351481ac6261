"""lists by index"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_C = 'COLLATE "C"'  # as lists order texts


def upgrade() -> None:
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_backup_create_time"))
        batch_op.drop_index(batch_op.f("ix_backup_display_name"))
        batch_op.drop_index(batch_op.f("ix_backup_project"))
        batch_op.drop_index(batch_op.f("ix_backup_server"))
        batch_op.drop_index(batch_op.f("ix_backup_size_bytes"))
        batch_op.drop_index(batch_op.f("ix_backup_state"))
        batch_op.create_index(
            "backup_by_create_time", ["project", "create_time", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "backup_by_display_name",
            ["project", "display_name", "name"],
            postgresql_ops={"display_name": _C, "name": _C},
        )
        batch_op.create_index(
            "backup_by_server",
            ["project", "server", "create_time", "name"],
            postgresql_ops={"server": _C, "name": _C},
        )
        batch_op.create_index(
            "backup_by_size_bytes", ["project", "size_bytes", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "backup_by_state",
            ["project", "state", "create_time", "name"],
            postgresql_ops={"state": _C, "name": _C},
        )


def downgrade() -> None:
    with op.batch_alter_table("backup", schema=None) as batch_op:
        batch_op.drop_index("backup_by_state")
        batch_op.drop_index("backup_by_size_bytes")
        batch_op.drop_index("backup_by_server")
        batch_op.drop_index("backup_by_display_name")
        batch_op.drop_index("backup_by_create_time")
        batch_op.create_index(batch_op.f("ix_backup_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_size_bytes"), ["size_bytes"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_server"), ["server"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_project"), ["project"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_display_name"), ["display_name"], unique=False)
        batch_op.create_index(batch_op.f("ix_backup_create_time"), ["create_time"], unique=False)
