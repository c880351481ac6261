"""The other services, with the methods that IMS needs of them."""
