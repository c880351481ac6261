"""What CSBS needs of the other services, in its own words."""
