"""How a machine gets to its wanted state. Knows nothing of mail and nothing of customers."""
