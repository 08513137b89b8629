"""Which release this is. A relay that has a later one is not provisioned by an earlier one."""

RELEASE = "1.1.0"
