"""The tables and files of IMS, and a repository for each aggregate.

Rows are not the domain: each repository translates.
"""
