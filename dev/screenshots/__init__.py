"""`make screenshots`: every page of the console, at two widths, light and dark, over the same sample shop."""
