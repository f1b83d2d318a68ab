"""The settings of a segmentation: one table of what each may be, and one value that can be saved and loaded again.

The page's controls, /segment, links, settings files and the command line all read `SETTINGS`; so a default, a range or
a label stands here and nowhere else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any

from proxyclip_core.computed_with import versions

FORMAT = 2  # of a settings file; files of format 1 are read too
ACROSS = "proxy-across"  # as a `fusion`, short for "proxy" with the `reach` "anchors"
AS_IS = "as-is"  # how None, for a picture that is not resized, is written as text

Value = str | int | float | None


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    kind: "text", "number", "whole" (pixels; None means as it is) or "choice".
    label, tip: what the page and the command line call it and say of it.
    low, high, step: the range of numbers, both ends included, and how finely a slider divides it.
    choices: (label, value) pairs. For "choice" these are all the values there are, for "whole" the usual ones.
    short: values that stand for several settings at once; no menu offers them.
    """

    name: str
    kind: str
    default: Value
    label: str
    tip: str
    low: float = -math.inf
    high: float = math.inf
    step: float = 0.0
    choices: tuple[tuple[str, Value], ...] = ()
    short: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[Value, ...]:
        """The values of `choices`."""
        return tuple(value for _, value in self.choices)

    def check(self, value: object) -> Value:
        """The value as it is kept, such as 336 for numpy's 336. Raises ValueError that says what was expected."""
        if self.kind == "text" and isinstance(value, str):
            return value
        if self.kind == "choice" and isinstance(value, str) and value in (*self.values, *self.short):
            return value
        if self.kind == "whole" and value is None:
            return None
        if isinstance(value, (Integral, Real)) and not isinstance(value, bool):
            number: Any = value  # the abstract classes of numbers declare no comparison with a float
            is_inside = self.low <= number <= self.high  # false for NaN
            if is_inside and self.kind == "whole" and isinstance(value, Integral):
                return int(value)
            if is_inside and self.kind == "number":
                return float(number)
        raise ValueError(f"{self.name} is {_short(value)}; expected {self.expected}.")

    @property
    def expected(self) -> str:
        """What a value may be, in words."""
        if self.kind == "text":
            return "text"
        if self.kind == "choice":
            return "one of " + ", ".join(repr(value) for value in self.values)
        span = f"{self.low:g} to {self.high:g}"
        return f"{span} pixels, or {AS_IS!r} (None in Python)" if self.kind == "whole" else f"a number from {span}"

    def as_text(self, value: Value) -> str:
        """How the value is written in a link, on the command line and in a file."""
        return AS_IS if value is None else str(value)

    def from_text(self, text: str) -> Value:
        """What `as_text` wrote, checked. Raises ValueError for anything else."""
        if self.kind == "whole" and text == AS_IS:
            return None
        try:
            value: object = {"number": float, "whole": int}.get(self.kind, str)(text)
        except ValueError:
            value = text
        return self.check(value)


def _short(value: object) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "a number of over 20 digits"
    return shown if len(shown) <= 80 else shown[:80] + "…"


_ROWS = (
    Setting("clip", "text", "", "CLIP", "Knows the words."),
    Setting("vfm", "text", "", "Vision model", "Knows which parts belong together."),
    Setting(
        "words",
        "text",
        "",
        "Words",
        "A comma or a new line between classes, a semicolon between words for the same class; quotes keep a comma. "
        "Enter brings the result.",
    ),
    Setting("beta", "number", 1.2, "beta", "Higher: fewer, more similar patches count.", 0.0, 3.0, 0.05),
    Setting("gamma", "number", 3.0, "gamma", "Higher: the nearest patches count for more.", 0.5, 20.0, 0.1),
    Setting(
        "side",
        "whole",
        336,
        "Resolution",
        "Short side in pixels. Higher: finer, slower.",
        224,
        1024,
        1,
        (
            ("224", 224),
            ("336 (the paper's)", 336),
            ("448", 448),
            ("560", 560),
            ("672", 672),
            ("1024", 1024),
            ("as it is", None),
        ),
    ),
    Setting(
        "windows",
        "choice",
        "sliding",
        "Windows",
        "Sliding is finer, whole is faster.",
        choices=(("sliding, as in the paper", "sliding"), ("whole picture at once", "whole")),
    ),
    Setting(
        "templates",
        "choice",
        "imagenet80",
        "Sentences",
        "Each word is read in these. More: steadier, slower for new words.",
        choices=(("none", "none"), ("7 sentences", "simple7"), ("80 sentences, the paper's", "imagenet80")),
    ),
    Setting(
        "background",
        "choice",
        "none",
        "Background",
        "What takes the pixels that no word fits.",
        choices=(
            ("none", "none"),
            ("my first word", "first"),
            ("short list of words", "short"),
            ("long list", "long"),
        ),
    ),
    Setting(
        "threshold",
        "number",
        0.0,
        "Threshold",
        "Higher: more of the picture goes to the background, where there is one.",
        0.0,
        1.0,
        0.01,
    ),
    Setting(
        "fusion",
        "choice",
        "proxy",
        "Attention",
        "The vision model's proxy attention, or CLIP without it, for comparison.",
        choices=(
            ("proxy attention, the paper's", "proxy"),
            ("none: CLIP's values alone", "values"),
            ("CLIP's own", "clip"),
        ),
        short=(ACROSS,),
    ),
    Setting(
        "facet",
        "choice",
        "tokens",
        "Features",
        "What of the vision model's patches is compared: its output, or what its last block makes of them; of Stable "
        "Diffusion also what earlier blocks say, more finely.",
        choices=(
            ("its output, as in the paper", "tokens"),
            ("queries", "queries"),
            ("keys", "keys"),
            ("values", "values"),
            ("queries + keys", "q+k"),
            ("UNet's 6th block", "block6"),
            ("UNet's 3rd block", "block3"),
        ),
    ),
    Setting(
        "reach",
        "choice",
        "windows",
        "Reach",
        "Which patches a patch attends to: those of its window, or those of all windows, which ends seams.",
        choices=(
            ("its window, as in the paper", "windows"),
            ("the whole picture", "picture"),
            ("the whole picture, by anchors", "anchors"),
        ),
    ),
    Setting(
        "scope",
        "choice",
        "all",
        "Scope",
        "Whether a patch attends to all patches that are like it, or to those in its region of SAM's and in like ones "
        "alone. SAM is slow: on a CPU up to a minute for a new picture.",
        choices=(("all, as in the paper", "all"), ("SAM's regions", "regions")),
    ),
    Setting(
        "refine",
        "choice",
        "none",
        "Refinement",
        "Moves scores along what looks alike, past the paper: sharper regions, slower. SAM reads the picture once more "
        "and is the slowest: on a CPU up to a minute for a new picture.",
        choices=(
            ("none, as in the paper", "none"),
            ("pixels, quick", "quick"),
            ("pixels, as in NACLIP", "pixels"),
            ("patches", "patches"),
            ("pixels, slow and global", "pixels+"),
            ("SAM's regions vote", "sam"),
            ("SAM, asked by what was found", "sam-prompts"),
        ),
    ),
    Setting(
        "sam",
        "choice",
        "auto",
        "SAM",
        "Whose regions they are, where SAM is asked for any. Larger: truer, slower.",
        choices=(
            ("the vision model's own, else B", "auto"),
            ("SAM B", "SAM B/16"),
            ("SAM L", "SAM L/16"),
            ("SAM H", "SAM H/16"),
        ),
    ),
)
SETTINGS: dict[str, Setting] = {row.name: row for row in _ROWS}


def default(name: str) -> Any:
    """What the setting is where nobody says otherwise."""
    return SETTINGS[name].default


def fusion_and_reach(fusion: str, reach: str) -> tuple[str, str]:
    """Both, where the one word ACROSS may stand for them."""
    return ("proxy", "anchors") if fusion == ACROSS else (fusion, reach)


@dataclass(frozen=True)
class Settings:
    """Everything that a segmentation depends on besides the picture and the machine.

    clip, vfm: full names in the registries (vfm may be "" where `fusion` needs none). words: text for
    `words.parse_vocabulary`. The rest as in `ProxyCLIP`, with the ranges of `SETTINGS`.
    computed_with: of settings from a file, what its result was computed with (`ProxyCLIP.computed_with`). It is a
    record and no setting: settings are equal whatever it says.
    Raises ValueError, naming the setting, for a value that cannot be; whether models are known is said when they load.
    """

    clip: str
    vfm: str
    words: str
    beta: float = default("beta")
    gamma: float = default("gamma")
    side: int | None = default("side")
    windows: str = default("windows")
    templates: str = default("templates")
    background: str = default("background")
    threshold: float = default("threshold")
    fusion: str = default("fusion")
    facet: str = default("facet")
    reach: str = default("reach")
    scope: str = default("scope")
    refine: str = default("refine")
    sam: str = default("sam")
    computed_with: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        spelled = dict(zip(("fusion", "reach"), fusion_and_reach(self.fusion, self.reach)))
        for name, row in SETTINGS.items():
            object.__setattr__(self, name, row.check(spelled.get(name, getattr(self, name))))
        check_threshold(self.threshold, self.background != "none")

    @property
    def asks_sam(self) -> bool:
        """Whether SAM is asked for regions."""
        return self.refine in ("sam", "sam-prompts") or self.scope == "regions"

    def to_json(self, computed_with: Mapping[str, Any] | None = None) -> str:
        """The settings as a file. computed_with: what `ProxyCLIP.computed_with` says, for the record."""
        entries: dict[str, Any] = {"proxyclip_settings": FORMAT} | {name: getattr(self, name) for name in SETTINGS}
        entries["side"] = AS_IS if self.side is None else self.side
        entries["computed_with"] = dict(computed_with) if computed_with else {"versions": versions()}
        return json.dumps(entries, ensure_ascii=False, indent=2)

    @classmethod
    def from_json(cls, text: str, default: Settings | None = None) -> Settings:
        """What `to_json` wrote, or as much of it as somebody wrote by hand: words at least.

        `default` has what is missing; without one, models that are not named are "" and all else is as in `SETTINGS`.
        Raises ValueError for anything else, naming the entry.
        """
        try:
            entries = json.loads(text.removeprefix("\ufeff"))  # which some editors put in front
            json.dumps(entries, ensure_ascii=False).encode()  # JSON can name half of a character; no file can hold it
        except UnicodeEncodeError:
            raise ValueError("These are no settings: they hold half of a character. Type the words anew.") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"These are no settings: the file is not JSON ({error}).") from None
        is_ours = isinstance(entries, dict) and ("proxyclip_settings" in entries or "words" in entries)
        if not is_ours or entries.pop("proxyclip_settings", FORMAT) not in (1, FORMAT):
            raise ValueError(f'These are no settings: expected a JSON object with "proxyclip_settings": {FORMAT}.')
        record, older = entries.pop("computed_with", {}), {"versions": entries.pop("versions", {})}
        if entries.get("background") == "":  # as format 1 wrote "none"
            entries["background"] = "none"
        if entries.get("side") == AS_IS:
            entries["side"] = None
        unknown, missing = set(entries) - set(SETTINGS), {"words"} - set(entries)
        if unknown or missing:
            parts = [f"unknown: {', '.join(sorted(unknown))}"] if unknown else []
            parts += [f"missing: {', '.join(sorted(missing))}"] if missing else []
            raise ValueError(f"The settings cannot be read ({'; '.join(parts)}).")
        entries["computed_with"] = record if isinstance(record, dict) and record else older
        return replace(default, **entries) if default else cls(**{"clip": "", "vfm": "", **entries})


def check_threshold(threshold: float, has_background: bool) -> None:
    """Raises ValueError for a threshold where there is no class that pixels below it could fall to."""
    SETTINGS["threshold"].check(threshold)
    if threshold > 0 and not has_background:
        raise ValueError(
            f"threshold is {threshold:g}, but no class is the background that pixels below it would fall to. Declare "
            "one: background='first' where your first word is the background, 'short' or 'long' for a list of words "
            "that is put in front. Or leave the threshold at 0."
        )
