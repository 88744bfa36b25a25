"""The subcommands, one per file; a new file with a ``COMMAND`` is a new subcommand."""
