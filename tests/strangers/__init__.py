"""What strangers may send to a page."""
