"""The state of the sync, for commands and mails: states, the balance of the books, notices."""
