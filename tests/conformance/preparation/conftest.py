"""Gives this folder's suites the builder of demo disks."""
