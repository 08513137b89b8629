"""A private Debian machine in tens of milliseconds: what the tests, the demo and the benchmarks run against."""
