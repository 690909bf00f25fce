"""The durable, vendor-neutral capture of committed changes."""
