"""What people and commands do when the ordinary path is not enough: decisions, resends, restores, backfills."""
