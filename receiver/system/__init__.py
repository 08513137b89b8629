"""Files, locks, processes and the account."""
