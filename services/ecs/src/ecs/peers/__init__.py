"""The other services, with the methods that ECS needs of them."""
