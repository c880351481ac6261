"""The tables and disks of ECS, and a repository for each aggregate: it translates rows into domain values."""
