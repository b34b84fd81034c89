"""The page: what it shows, put into words here and into HTML by the templates."""
