"""The tables of CSBS, and a repository for each aggregate.

Rows are not the domain: each repository translates.
"""
