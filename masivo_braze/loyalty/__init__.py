"""Masivo's own records, the source of every sync. Knows nothing of integrations."""
