"""Who may ask and who did: tokens of machines, people with their sessions and accounts, the audit log."""
