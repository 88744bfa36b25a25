"""Sample: images into classes."""
