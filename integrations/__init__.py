"""One folder per vendor; `outbox` serves them all."""
