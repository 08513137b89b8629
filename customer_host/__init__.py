"""The customer's end: reach it, place keys there, run its export."""
