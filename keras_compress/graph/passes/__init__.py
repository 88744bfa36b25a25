"""Rewritings of a whole model: one verb per file, each a pure function from snapshot to snapshot."""
