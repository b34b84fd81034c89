"""Where packets come from: files and interfaces."""
