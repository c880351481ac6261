"""The long-running work of IMS, a module for each kind."""
