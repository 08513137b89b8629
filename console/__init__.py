"""Options, errors, and the terminal: the only room that prints."""
