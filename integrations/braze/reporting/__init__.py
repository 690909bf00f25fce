"""How the sync stands, for commands and mails: states, the balance of the books, notices."""
