"""From Masivo's records to Braze's objects. Pure: no database, no network; the time is an argument.

What Braze would refuse or silently drop is left out, cut or renamed here, and each time a sentence says so: an
*adjustment*, kept on the outbox entry. A mere change of notation (`Colombia` as `CO`) is not an adjustment.
docs/mapping.md shows what becomes of each record.
"""
