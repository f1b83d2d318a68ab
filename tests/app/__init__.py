"""The app without a browser: what the Segment tab and the endpoints answer, and its process."""
