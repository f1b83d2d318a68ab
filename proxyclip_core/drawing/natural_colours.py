"""The colours that some words have by nature: grass is green, a lake is blue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

# Colour -> words, in the singular. What is often seen side by side differs in lightness too, for eyes that see no hue.
NATURAL = {
    "#97cff6": "sky heaven air",
    "#4a9bdc": "water lake river stream creek pond pool puddle waterfall canal fountain",
    "#1f62ad": "sea ocean wave",
    "#e9f0f6": "cloud snow snowflake frost",
    "#c3e2ee": "ice iceberg glacier",
    "#ccd2d8": "fog mist haze smoke steam",
    "#86bb48": "grass lawn meadow pasture turf",
    "#d8cf6a": "field farmland hay",
    "#438f45": "tree plant leaf leaves foliage vegetation bush shrub hedge vegetable broccoli cactus moss",
    "#1a5230": "forest jungle woods woodland rainforest pine fir spruce",
    "#e6cf97": "sand beach shore coast dune straw",
    "#dcb26c": "desert savanna",
    "#8a5c38": "soil mud dirt earth ground clay branch",
    "#b98850": "wood timber log plank",
    "#9b9390": "rock stone gravel cliff boulder pebble",
    "#8d87b0": "mountain hill peak ridge volcano",
    "#4f5560": "road street highway asphalt tarmac runway",
    "#b7b4ae": "pavement sidewalk concrete marble",
    "#b5523b": "brick rust",
    "#ee6c1f": "fire flame lava campfire carrot pumpkin orange",
    "#ffcb2f": "sun sunlight lemon banana yellow gold golden",
    "#d23a34": "tomato strawberry cherry red",
    "#3f9a45": "green",
    "#2f6fd6": "blue",
    "#8a3fb0": "purple violet",
    "#f19bc1": "pink",
    "#8b5a36": "brown",
    "#2a2c31": "black",
    "#f3f2ec": "white",
    "#a4a6a9": "gray grey",
}
COLOUR_OF = {word: colour for colour, words in NATURAL.items() for word in words.split()}
# What a thing is made of says more than what it is: a dirt road is brown, a brick wall red, a snowy mountain white.
MATERIALS = "snow frost ice grass sand soil mud dirt wood timber rock stone gravel asphalt concrete marble brick"
COLOURS = "orange yellow golden red green blue purple violet pink brown black white gray grey"
AFTER_THE_THING = re.compile(r"\b(?:in|on|at|with|without|near|by|under|over|behind|beside|above|below|from|for)\b")


@lru_cache(maxsize=4096)
def natural_colour(name: str) -> str | None:
    """'#rrggbb' for a word, or several, whose thing has a colour by nature or which name one; None for any other.

    By what it is made of ("dirt road"), else by the last word ("blue sky", "palm trees"; "man on the beach" is a man),
    else by a colour that is named ("red car").
    """
    words = [_known(word) for word in re.findall(r"[a-z]+", AFTER_THE_THING.split(name.casefold())[0])]
    material = next((word for word in words[:-1] if word in MATERIALS.split()), None)
    named = next((word for word in words[:-1] if word in COLOURS.split()), None)
    chosen = material or (words[-1] if words and words[-1] in COLOUR_OF else named)
    return COLOUR_OF[chosen] if chosen else None


def _known(word: str) -> str:
    """The word as the table has it: trees -> tree, skies -> sky, wooden -> wood, sandy -> sand; else as it is."""
    return next((form for form in _forms(word) if form in COLOUR_OF), word)


def _forms(word: str) -> Iterator[str]:
    yield word
    for ending, instead in (("ies", "y"), ("es", ""), ("s", ""), ("en", ""), ("dy", "d"), ("y", ""), ("y", "e")):
        if word.endswith(ending):
            yield word.removesuffix(ending) + instead
