"""The page: layout and wiring in `ui`, one function an event in `callbacks`, drawing in `render`."""
