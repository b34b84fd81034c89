"""The server below the application: sockets, certificates, slow clients, answers without an end."""
