"""How the built-in CLIP and VFMs are made: drawings, scenes, training, export, scores.

`python -m assets.builtin.recipe --help` from the repository's root. Pictures are segmented and scored by proxyclip_core
alone; what lives here is what it has no use for: painting scenes, and forward passes that can be trained.
"""
