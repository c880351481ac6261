"""lists by index"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_C = 'COLLATE "C"'  # as lists order texts


def upgrade() -> None:
    with op.batch_alter_table("disk", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_disk_create_time"))
        batch_op.drop_index(batch_op.f("ix_disk_display_name"))
        batch_op.drop_index(batch_op.f("ix_disk_project"))
        batch_op.drop_index(batch_op.f("ix_disk_role"))
        batch_op.drop_index(batch_op.f("ix_disk_size_bytes"))
        batch_op.drop_index(batch_op.f("ix_disk_state"))
        batch_op.create_index(
            "disk_by_create_time", ["project", "create_time", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "disk_by_display_name",
            ["project", "display_name", "name"],
            postgresql_ops={"display_name": _C, "name": _C},
        )
        batch_op.create_index(
            "disk_by_role",
            ["project", "role", "create_time", "name"],
            postgresql_ops={"role": _C, "name": _C},
        )
        batch_op.create_index(
            "disk_by_size_bytes", ["project", "size_bytes", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "disk_by_state",
            ["project", "state", "create_time", "name"],
            postgresql_ops={"state": _C, "name": _C},
        )

    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_server_create_time"))
        batch_op.drop_index(batch_op.f("ix_server_display_name"))
        batch_op.drop_index(batch_op.f("ix_server_image"))
        batch_op.drop_index(batch_op.f("ix_server_project"))
        batch_op.drop_index(batch_op.f("ix_server_state"))
        batch_op.create_index(
            "server_by_create_time", ["project", "create_time", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "server_by_display_name",
            ["project", "display_name", "name"],
            postgresql_ops={"display_name": _C, "name": _C},
        )
        batch_op.create_index(
            "server_by_image",
            ["project", "image", "create_time", "name"],
            postgresql_ops={"image": _C, "name": _C},
        )
        batch_op.create_index(
            "server_by_state",
            ["project", "state", "create_time", "name"],
            postgresql_ops={"state": _C, "name": _C},
        )


def downgrade() -> None:
    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.drop_index("server_by_state")
        batch_op.drop_index("server_by_image")
        batch_op.drop_index("server_by_display_name")
        batch_op.drop_index("server_by_create_time")
        batch_op.create_index(batch_op.f("ix_server_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_server_project"), ["project"], unique=False)
        batch_op.create_index(batch_op.f("ix_server_image"), ["image"], unique=False)
        batch_op.create_index(batch_op.f("ix_server_display_name"), ["display_name"], unique=False)
        batch_op.create_index(batch_op.f("ix_server_create_time"), ["create_time"], unique=False)

    with op.batch_alter_table("disk", schema=None) as batch_op:
        batch_op.drop_index("disk_by_state")
        batch_op.drop_index("disk_by_size_bytes")
        batch_op.drop_index("disk_by_role")
        batch_op.drop_index("disk_by_display_name")
        batch_op.drop_index("disk_by_create_time")
        batch_op.create_index(batch_op.f("ix_disk_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_disk_size_bytes"), ["size_bytes"], unique=False)
        batch_op.create_index(batch_op.f("ix_disk_role"), ["role"], unique=False)
        batch_op.create_index(batch_op.f("ix_disk_project"), ["project"], unique=False)
        batch_op.create_index(batch_op.f("ix_disk_display_name"), ["display_name"], unique=False)
        batch_op.create_index(batch_op.f("ix_disk_create_time"), ["create_time"], unique=False)
