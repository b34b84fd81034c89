"""What a thread of the API keeps in order: rows past their time, findings of exceptions that end."""
