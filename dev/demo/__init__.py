"""`make demo`: the sample shop synced into the sandbox by the Procfile's own processes, checked and reported."""
