"""Values and rules, nothing else: no I/O, no clock, no store. Everything here is immutable or pure."""
