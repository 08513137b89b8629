"""Runs on the relay, sent there and never installed: what the postfix role reads and makes there."""
