"""The encoders: which there are, where their weights come from, and how they read pictures and words."""
