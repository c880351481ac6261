"""Alembic runs this for each migration of CSBS."""

from alembic import context

from csbs.storage.tables import TABLES
from recast.migrations.migrate import run_environment

run_environment(context, TABLES)
