"""Reads Masivo's records from files: `parse` makes records of lines, `apply` makes rows of records."""
