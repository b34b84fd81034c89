"""What is known of tunnel services: the entries (`services/`), how they are read, checked and compared."""
