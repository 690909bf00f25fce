"""Requests → Braze → settled: the ledger, the buffer, the limiter, the flush, verdicts and settlement."""
