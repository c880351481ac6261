"""Alembic runs this for each migration of ECS."""

from alembic import context

from ecs.storage.tables import TABLES
from recast.migrations.migrate import run_environment

run_environment(context, TABLES)
