"""An account as a whole: applying its settings, pausing and resuming it, testing its connection."""
