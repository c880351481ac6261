"""Alembic runs this for each migration of IMS."""

from alembic import context

from ims.storage.tables import TABLES
from recast.migrations.migrate import run_environment

run_environment(context, TABLES)
