"""IMS: images of all kinds, who may use them, and what is refused for which kind."""
