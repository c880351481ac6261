"""The tables and files of IMS, and a repository for each aggregate: it translates rows into domain values."""
