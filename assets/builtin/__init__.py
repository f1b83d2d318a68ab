"""The built-in models: their card, their figures and, in `recipe`, how they are made."""
