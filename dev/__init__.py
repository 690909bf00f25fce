"""Tools for developers: set-up, embedded servers, `make run`, `make demo`. Nothing here runs in production."""
