"""From Masivo's records to Braze's objects. Pure: no database, no network; the time comes in as an argument.

What Braze would refuse or drop without a word is left out, cut or renamed here, and each time a sentence says so: an
*adjustment*, kept on the outbox entry. A value that is merely written in another notation (`Colombia` as `CO`) is not
one. docs/mapping.md shows record by record what comes out.
"""
