"""Arrays to pictures and figures, and the few scripts for the browser."""
