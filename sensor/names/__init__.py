"""What clients ask the DNS: queries with their answers, the names they were told, the shape of what they send."""
