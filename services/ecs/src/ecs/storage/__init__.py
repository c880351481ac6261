"""The tables and disks of ECS, and a repository for each aggregate.

Rows are not the domain: each repository translates.
"""
