"""a hold has an id and leaves a tombstone"""

import sqlalchemy as sa
import sqlmodel
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ended_hold",
        sa.Column("hold_id", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("server", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("hold_id", "server"),
    )
    with op.batch_alter_table("image_hold", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("hold_id", sqlmodel.sql.sqltypes.AutoString(), server_default="", nullable=False)
        )


def downgrade() -> None:
    with op.batch_alter_table("image_hold", schema=None) as batch_op:
        batch_op.drop_column("hold_id")

    op.drop_table("ended_hold")
