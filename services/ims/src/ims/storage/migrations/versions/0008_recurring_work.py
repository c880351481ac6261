"""recurring work"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "schedule",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("due_time", sa.DateTime(), nullable=False),
        sa.Column("interval_seconds", sa.Float(), nullable=False),
        sa.Column("last_run_time", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    # Existing tombstones have no time: they expire as if they were made now.
    with op.batch_alter_table("ended_pin", schema=None) as batch_op:
        batch_op.add_column(sa.Column("create_time", sa.DateTime(), nullable=True))
    now = "CURRENT_TIMESTAMP" if op.get_bind().dialect.name == "sqlite" else "timezone('UTC', now())"
    op.execute(f"UPDATE ended_pin SET create_time = {now}")
    with op.batch_alter_table("ended_pin", schema=None) as batch_op:
        batch_op.alter_column("create_time", nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("ended_pin", schema=None) as batch_op:
        batch_op.drop_column("create_time")
    op.drop_table("schedule")
