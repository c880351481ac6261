"""The tables of CSBS, and a repository for each aggregate: it translates rows into domain values."""
