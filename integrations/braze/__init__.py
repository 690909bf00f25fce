"""All that is Braze."""
