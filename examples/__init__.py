"""Training samples that are run from the root of a clone, as ``python -m examples.classification.train``, and a demo."""
