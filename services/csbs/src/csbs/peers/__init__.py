"""The other services, with the methods that CSBS needs of them."""
