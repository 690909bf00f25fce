"""What people and commands do where the ordinary path is not enough: decisions, resends, restores, backfills."""
