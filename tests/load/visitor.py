"""One visitor, who knows at any time what the page must show: every picture and every word bears their mark."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from proxyclip_core.drawing.overlay import picture_at
from tests.load.remote_page import PATIENCE, RemotePage

ACTIONS = {  # what people do, and how often
    "new_picture": 2,
    "new_words": 3,
    "slide": 5,
    "see": 3,
    "click": 3,
    "look_inside": 2,
    "compare": 1,
    "download": 1,
    "call": 1,
}
KNOWN = ["hill", "cow", "house", "tree", "sea", "road", "sun", "pig"]  # everybody's


class Visitor:
    """number: tells visitors apart, from 0. wrong: answers that were another's; said: messages of the page; acted: how
    often what they did was answered, with all that followed from it.

    settings: control -> value, what is set before anything is asked for.
    """

    patience: float = PATIENCE  # seconds until an action is given up
    actions: ClassVar = ACTIONS

    def __init__(self, address: str, number: int, settings: Mapping[str, Any] | None = None) -> None:
        self.page, self.number, self.settings = RemotePage(address, self.patience), number, settings or {}
        self.random, self.round = random.Random(number), 0
        self.wrong, self.said = list[str](), list[str]()
        self.beta, self.is_behind, self.acted = 0.0, True, 0

    def arrive(self) -> None:
        self.page.open()
        for name, value in self.settings.items():
            self.page.set(name, value)
        self.beta = self.page["beta"]
        self._do(self.new_picture)

    def act_once(self) -> None:
        """Everything that people do."""
        for name in self.random.sample(list(self.actions), len(self.actions)):
            self._do(getattr(self, name))

    def act(self) -> None:
        """Something that people do. Who was told that something did not work presses Segment again."""
        name = self.random.choices(list(self.actions), list(self.actions.values()))[0]
        self._do(self.ask if self.is_behind else getattr(self, name))

    def _do(self, action: Callable[[], None]) -> None:
        """With a look at all that the page shows then, unless it said that it could not be done."""
        before = len(self.page.made)
        action()
        self.is_behind = not self._all_answered(before)
        if said := self.page.said():
            self.said.append(said)
            self.is_behind = True
        if not self.is_behind:
            self.acted += 1
            self.look()

    def _all_answered(self, first: int) -> bool:
        return all(request.outcome == "answered" for request in self.page.made[first:])

    def new_picture(self) -> None:
        self.round += 1
        # No two visitors have pictures of one size, and no two pictures are of one colour.
        size_hw = (150 + self.round % 40, 200 + 2 * self.number)
        colour = np.random.default_rng([self.number, self.round]).integers(0, 256, 3)
        self.pixels = np.zeros((*size_hw, 3), dtype=np.uint8) + colour.astype(np.uint8)
        self.pixels[: size_hw[0] // 2] //= 2
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "png")
        self.digest = blake2b(file.getvalue(), digest_size=16).hexdigest()
        self.page.set("picture", self.page.upload(f"visitor{self.number}.png", file.getvalue()))
        self.new_words()

    def new_words(self) -> None:
        self.round += 1
        self.words = [f"sky of visitor {self.number} in round {self.round}", *self.random.sample(KNOWN, 3)]
        self.ask()

    def ask(self) -> None:
        self.page.set("words", ", ".join(self.words))
        self.page.do("segment", "click")

    def slide(self) -> None:
        self.beta = round(1 + self.number / 100 + self.random.random() / 100, 4)
        self.page.do("beta", "input", self.beta)

    def see(self) -> None:
        """The picture that the result is drawn on: that can be told exactly."""
        if not self.page.said():
            drawn = np.asarray(Image.open(io.BytesIO(self.page.download(self.page["overlay"]))).convert("RGB"))
            differ = (drawn != picture_at(self.pixels, drawn.shape[:2])).any(axis=-1).mean()
            self._expect(differ == 0, "the picture")

    def click(self) -> None:
        self.page.do("top", "click", data={"x": self.random.random(), "y": 0.5, "picture": self.digest})
        found = set(re.findall(r"<li><span>([^<]*)</span>", self.page["top"] or ""))
        self._expect(found <= set(self.words), f"scores of {found}")

    def look_inside(self) -> None:
        self.page.open_view("inside/attention")
        seed, before = [self.random.randrange(100, 150)] * 2, len(self.page.made)
        self.page.do("inside-live", "click", data={"picture": self.digest, "points": [seed]})
        told = json.loads(self.page["inside-live"] or "null")
        if told and self._all_answered(before) and not self.page.said("inside-note"):  # otherwise of an earlier click
            self._expect((told["picture"], told["size"]) == (self.digest, list(self.pixels.shape[:2])), "the picture")
            self._expect(told["seeds"] == [seed], "the seeds")
            for source in told["sources"]:
                patches = self.page.download(source)
                self._expect(len(patches) > source["count"] * source["directions"], "the patches")
            for shown in self.page["inside-maps"] or []:
                self._expect(shown["caption"].startswith("1 · "), "the maps")
        self.page.open_view("segment")

    def compare(self) -> None:
        self.page.open_view("compare")
        for shown in self.page["compare-slider"] or []:
            self._expect_shape(self.page.download(shown), "a compared result")
        self.page.open_view("segment")

    def download(self) -> None:
        self.page.set("zip-file", None)
        self.page.do("save", "click")
        if self.page["zip-file"] is None:
            return
        with zipfile.ZipFile(io.BytesIO(self.page.download(self.page["zip-file"]))) as files:
            settings = json.loads(files.read(next(name for name in files.namelist() if name.endswith("settings.json"))))
            labels = Image.open(files.open(next(name for name in files.namelist() if name.endswith("labels.png"))))
            self._expect((labels.height, labels.width) == self.pixels.shape[:2], "the label map")
        self._expect(settings["words"] == ", ".join(self.words), "the words of the settings")
        self._expect(settings["beta"] == self.beta, "beta")

    def call(self, session: str | None = None) -> None:
        """As a program, without the page."""
        given = {"picture": self.page["picture"], "words": ", ".join(self.words), "beta": self.beta}
        if answer := self.page.call("segment", session, **given):
            _, labels, summary, *_ = answer
            size = Image.open(io.BytesIO(self.page.download(labels))).size
            self._expect(size == self.pixels.shape[1::-1], "the label map of a call")
            self._expect(summary["names"] == self.words, "the names of a call")

    def look(self) -> None:
        """What the page shows at any time."""
        height, width = self.pixels.shape[:2]
        named = set(re.findall(r'data-name="([^"]*)"', self.page["legend"] or ""))
        marked = self.words[0] in (self.page["legend"] or "")  # also where it was not found
        self._expect(named and named <= set(self.words) and marked, f"a legend of {named}")
        self._expect(f"{width} × {height} pixels" in (self.page["status"] or ""), "the status line")
        shown = json.loads(self.page["held-shown"] or "null") or {}
        self._expect(shown.get("picture") == self.digest, "the picture that is shown")

    def _expect_shape(self, file: bytes, what: str) -> None:
        drawn, (height, width) = Image.open(io.BytesIO(file)), self.pixels.shape[:2]
        self._expect(abs(drawn.width * height - drawn.height * width) <= 2 * max(drawn.size), what)

    def _expect(self, right: Any, what: str) -> None:
        if not right:
            self.wrong.append(f"visitor {self.number}, round {self.round}: {what} is not theirs")


class Program(Visitor):
    """Asks by /segment alone, in a session of its own, as gradio's clients do. It was the same at 360fd2f."""

    actions: ClassVar = {name: ACTIONS[name] for name in ("new_picture", "new_words", "slide")}

    def arrive(self) -> None:
        self.beta = 1.2
        self._do(self.new_picture)

    def ask(self) -> None:
        self.call(self.page.name)

    def slide(self) -> None:
        self.beta = round(1 + self.random.random(), 4)
        self.ask()

    def look(self) -> None:
        """Each answer was looked at as it came."""
