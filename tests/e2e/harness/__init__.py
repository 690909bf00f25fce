"""The fault harness: a random workload, random faults, then every promise is checked."""
