"""The long-running work of ECS, one module a kind."""
