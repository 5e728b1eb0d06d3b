"""The command line: one file per command. It parses, calls the library, prints, and chooses the exit code."""
