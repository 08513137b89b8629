"""Status, alarms, schedule, metrics; the mail log, and the refusals in it."""
