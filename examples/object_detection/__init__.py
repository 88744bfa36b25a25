"""Sample: boxes around objects, found by a single-shot detector."""
