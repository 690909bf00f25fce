"""Pending changes → requests: the relay, what it takes and loads, the rules, and the commit of a round."""
