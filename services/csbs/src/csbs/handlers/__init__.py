"""One module for each proto service.

The RPC method is the use case: parse, begin, replay, load, decide, record, commit.
"""
