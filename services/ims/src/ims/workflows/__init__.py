"""The long-running work of IMS, one module a kind."""
