"""Names and URLs in one form, and how they are looked up: by whole labels."""
