"""The visitors of `visitor` on the page as it was at 360fd2f, for the figures beside today's.

What they ask for is the same, by the controls of that page; what it shows is not looked at.
"""

from __future__ import annotations

from typing import Any

from tests.load.visitor import Visitor


class EarlierVisitor(Visitor):
    """Asks what a visitor of today asks, and takes whatever comes."""

    patience = 60  # two listeners of that page can wake each other for ever

    def see(self) -> None:
        if not self.page.said():
            self.page.download(self.page["overlay"])

    def click(self) -> None:
        self.page.do("overlay", "select", data={"index": [self.random.randrange(100, 400), 200], "value": None})

    def look_inside(self) -> None:
        self.page.open_view("inside/attention")
        self.page.do("inside-picture", "select", data={"index": [self.random.randrange(100, 200)] * 2, "value": None})
        if self.page["inside-picture"] is not None:
            self.page.download(self.page["inside-picture"])
        self.page.open_view("segment")

    def call(self) -> None:
        given = {"picture": self.page["picture"], "words": ", ".join(self.words), "beta": self.beta}
        if answer := self.page.call("segment", **given):
            self.page.download(answer[1])

    def download(self) -> None:
        self.page.set("zip-file", None)
        self.page.do("save", "click")
        if self.page["zip-file"] is not None:
            self.page.download(self.page["zip-file"])

    def look(self) -> None:
        pass

    def _expect(self, right: Any, what: str) -> None:
        pass
