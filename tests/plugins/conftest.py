"""The modules of the other package are imported by the tests that need them, not while examples in docstrings are collected."""

collect_ignore = ["plain_format.py", "rounding.py"]
