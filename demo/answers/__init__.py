"""What the page answers: plain functions, one an event."""
