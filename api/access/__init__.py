"""Who may ask: tokens, how they are presented, and what each of them opens."""
