"""The long-running work of ECS, a module for each kind."""
