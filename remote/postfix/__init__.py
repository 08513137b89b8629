"""Runs on the relay, sent with the agent and never installed: what the postfix role reads and makes there."""
