"""What IMS needs of the other services, in its own words."""
