"""The page's tabs and the question's column: layout and wiring."""
