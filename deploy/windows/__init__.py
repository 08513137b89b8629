"""A Windows machine reached over SSH."""
