"""The rules of a service that backs up whole servers: pure functions over facts that a service passes in."""
