"""Many visitors at a time, over HTTP and through the page's own queue and sessions: `python -m tests.load --help`."""
