"""Pictures, and the built-in models' card and recipe; nothing that the library or the page imports."""
