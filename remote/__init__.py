"""What is sent to a relay and runs there for one plan; nothing of it is installed."""
