"""demo.draw.legend: the legend's HTML."""

from __future__ import annotations

import html
import re

import numpy as np
import pytest

from demo.draw import legend

COLOURS = np.array([[255, 0, 10], [0, 200, 255]], dtype=np.uint8)


def test_legend_begins_with_the_largest():
    rows = legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS, {"horse": 0.4})
    assert rows == [
        {
            "index": 1,
            "words": "",
            "colour": "#00c8ff",
            "pattern": 0,
            "share": 0.8,
            "presence": 0.4,
            "perhaps_absent": True,
        }
        | {"name": "horse"},
        {
            "index": 0,
            "words": "",
            "colour": "#ff000a",
            "pattern": 0,
            "share": 0.2,
            "presence": None,
            "perhaps_absent": False,
        }
        | {"name": "sky"},
    ]


def test_a_class_that_is_perhaps_not_there_is_marked_in_words():
    shown = legend.legend_html(legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS, {"sky": 1.0, "horse": 0.4}))
    marked = re.findall(r'data-name="(\w+)"(?:(?!</li>).)*perhaps not there', shown)
    assert marked == ["horse"]


def test_legend_names_are_text():
    rows = [
        {"index": 0, "name": '<img src=x onerror="alert(1)">', "share": 1.0},
        {"index": 1, "name": "<i>", "share": 0.0},
    ]
    rows = [{"words": "", "colour": "#112233", "perhaps_absent": 0} | row for row in rows]
    shown = legend.legend_html(rows)
    assert "<img" not in shown and "&lt;img" in shown
    assert "<i>" not in shown and "Not found: &lt;i&gt;" in shown


def test_chips_say_what_a_click_and_a_double_click_do():
    shown = legend.legend_html(legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS))
    assert re.findall(r'data-name="(\w+)" data-index="(\d)" aria-pressed="(\w+)"', shown) == [
        ("horse", "1", "true"),
        ("sky", "0", "true"),
    ]
    assert "Double click: only this" in shown and "Show all" in shown


def test_chips_of_given_words_can_be_changed_and_that_of_a_background_cannot():
    shares = {"background": 0.5, "sky": 0.5, '"x"': 0.0}
    classes = (("sky", "cloud"), ('"x"',))
    shown = legend.legend_html(legend.legend_rows(shares, np.zeros((3, 3), dtype=np.uint8), classes=classes))
    found = [
        tuple(map(html.unescape, row)) for row in re.findall(r'data-name="([^"]*)"[^>]* data-words="([^"]*)"', shown)
    ]
    assert found == [("sky", "sky; cloud"), ('"x"', '"""x"""')]
    assert shown.count('class="edit"') == 1


def test_a_hatched_class_has_a_swatch_that_is_hatched_too():
    rows = legend.legend_rows({"sky": 0.2, "horse": 0.8}, COLOURS, patterns=np.array([1, 0]))
    assert [row["pattern"] for row in rows] == [0, 1]
    plain, hatched = legend.legend_html(rows).split("<li>")[1:]
    assert "<img" not in plain and 'title="hatched to the right"' in hatched


def test_bars_are_the_five_best_and_their_names_are_text():
    names = ["<b>a</b>", *"bcdef"]
    scores = dict(zip(names, (0.6, 0.3, 0.06, 0.03, 0.0099, 0.0001)))
    shown = legend.bars_html(scores, dict.fromkeys(names, COLOURS[1]))
    assert shown.count("<li>") == 5 and "<b>" not in shown and "&lt;b&gt;a" in shown
    assert "width:60.00%;background:#00c8ff" in shown and "60 %" in shown


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, "100 %"), (0.4213, "42 %"), (0.0999, "10 %"), (0.0421, "4.2 %"), (0.0002, "< 0.1 %"), (0.0, "0 %")],
)
def test_percent(share, text):
    assert legend.percent(share) == text
