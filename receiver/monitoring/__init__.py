"""Status, alarms, schedule, metrics and mail log."""
