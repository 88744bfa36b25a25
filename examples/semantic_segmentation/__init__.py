"""Sample: a class for every pixel."""
