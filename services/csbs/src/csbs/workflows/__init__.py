"""The long-running work of CSBS, one module a kind."""
