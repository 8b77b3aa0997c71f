"""Who may do what: users, members, tokens, login, audit."""
