"""The store: one PostgreSQL from which every relay of an operator takes its lists. Nothing here runs without one."""
