"""The long-running work of CSBS, a module for each kind."""
