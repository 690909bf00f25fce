"""How fast it is: each module is a command that prints one table and a JSON line. `make bench` runs them all."""
