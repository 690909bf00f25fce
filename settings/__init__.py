"""Settings of the project: `base` is shared, `local`, `test` and `production` complete it.

Only this package reads the environment.
"""
