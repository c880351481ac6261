"""IMS: images of all kinds, and the checks of their use by kind and state."""
