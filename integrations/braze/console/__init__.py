"""What the console's pages show, as values: queries and words, and no HTML."""
