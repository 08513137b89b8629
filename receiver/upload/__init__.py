"""The way of an upload: read, parse, filter, judge, publish."""
