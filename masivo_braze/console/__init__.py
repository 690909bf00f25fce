"""What the admin's pages have in common: theme, navigation, who sees what; and the pages of Masivo's own records."""
