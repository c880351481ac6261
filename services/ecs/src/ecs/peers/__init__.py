"""What ECS needs of the other services, in its own words."""
