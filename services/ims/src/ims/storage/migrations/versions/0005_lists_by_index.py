"""lists by index"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_C = 'COLLATE "C"'  # as lists order texts


def upgrade() -> None:
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_image_create_time"))
        batch_op.drop_index(batch_op.f("ix_image_display_name"))
        batch_op.drop_index(batch_op.f("ix_image_kind"))
        batch_op.drop_index(batch_op.f("ix_image_project"))
        batch_op.drop_index(batch_op.f("ix_image_size_bytes"))
        batch_op.drop_index(batch_op.f("ix_image_source_backup"))
        batch_op.drop_index(batch_op.f("ix_image_state"))
        batch_op.create_index(
            "image_by_create_time", ["project", "create_time", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "image_by_display_name",
            ["project", "display_name", "name"],
            postgresql_ops={"display_name": _C, "name": _C},
        )
        batch_op.create_index(
            "image_by_kind",
            ["project", "kind", "create_time", "name"],
            postgresql_ops={"kind": _C, "name": _C},
        )
        batch_op.create_index(
            "image_by_size_bytes", ["project", "size_bytes", "name"], postgresql_ops={"name": _C}
        )
        batch_op.create_index(
            "image_by_source_backup",
            ["project", "source_backup", "create_time", "name"],
            postgresql_ops={"source_backup": _C, "name": _C},
        )
        batch_op.create_index(
            "image_by_state",
            ["project", "state", "create_time", "name"],
            postgresql_ops={"state": _C, "name": _C},
        )


def downgrade() -> None:
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.drop_index("image_by_state")
        batch_op.drop_index("image_by_source_backup")
        batch_op.drop_index("image_by_size_bytes")
        batch_op.drop_index("image_by_kind")
        batch_op.drop_index("image_by_display_name")
        batch_op.drop_index("image_by_create_time")
        batch_op.create_index(batch_op.f("ix_image_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_source_backup"), ["source_backup"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_size_bytes"), ["size_bytes"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_project"), ["project"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_display_name"), ["display_name"], unique=False)
        batch_op.create_index(batch_op.f("ix_image_create_time"), ["create_time"], unique=False)
