"""Files of text that people bring, in whatever encoding their tools write."""

from __future__ import annotations

import codecs
import locale
import re
import unicodedata
from itertools import groupby

from proxyclip_core.file_kinds import HEAD, name_of

# Marks of byte order and what they say; the longer ones first, as some begin like others.
MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
WESTERN = "cp1252"
# What was written before UTF-8: encoding -> what it is called, and where a script has thousands of characters, the
# bytes of those in use every day: a text with many others is most likely in another encoding.
BEFORE_UTF_8 = {
    "gb18030": ("GB 18030 (Chinese)", rb"[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]"),
    "big5": ("Big5 (Chinese)", rb"[\xa1-\xc6][\x40-\x7e\xa1-\xfe]"),
    "cp932": ("Shift-JIS (Japanese)", rb"[\x81-\x83\x87-\x98][\x40-\x7e\x80-\xfc]"),
    "euc_jp": ("EUC-JP (Japanese)", rb"[\xa1\xa3-\xa5\xb0-\xcf][\xa1-\xfe]"),
    "cp949": ("EUC-KR (Korean)", rb"[\xa1-\xa3\xb0-\xc8][\xa1-\xfe]"),
    WESTERN: ("Windows' Western code page", b""),
    "cp1250": ("Windows' Central European code page", b""),
    "cp1251": ("Windows' Cyrillic code page", b""),
    "koi8_r": ("KOI8-R (Cyrillic)", b""),
    "cp866": ("DOS' Cyrillic code page", b""),
    "cp1253": ("Windows' Greek code page", b""),
    "cp1254": ("Windows' Turkish code page", b""),
    "cp1255": ("Windows' Hebrew code page", b""),
    "cp1256": ("Windows' Arabic code page", b""),
    "cp874": ("Windows' Thai code page", b""),
}
RARE = 0.1  # share of the characters that may be others
ENOUGH = 20_000  # bytes from which a language is known
QUOTES = r"(?<!\w)[“”„‘’«»–—…]|[“”„‘’«»–—…](?!\w)"
MOST_MARKS = 30  # accents on one letter: nobody writes more, and to put them in order takes time with their square
SHOWN, MOST_SHOWN = 12, 3  # characters of each reading where several are possible, and how many of them


def decoded(content: bytes) -> tuple[str, str]:
    """The text, and where its encoding was guessed a sentence that says so, else "".

    Raises ValueError for what is no text, and for what may be a text in several encodings.
    """
    encoding = next((encoding for mark, encoding in MARKS if content.startswith(mark)), None)
    is_stray = content.isascii() and 10 * content.count(0) < len(content)
    if encoding is None and b"\0" in content and not is_stray:
        # UTF-16 without a mark: half of an ASCII character is 0
        encoding = "utf-16-be" if content[::2].count(0) > content[1::2].count(0) else "utf-16-le"
    elif encoding is None and b"\x1b$" in content:
        encoding = "iso2022_jp"
    kind = name_of(content[:HEAD])
    try:
        text, guessed = content.decode(encoding or "utf-8"), ""
    except UnicodeDecodeError:
        text, guessed = ("\0", "") if encoding or (kind and kind[0] != "a text") else _guess(content)
    if any(unicodedata.category(letter) == "Cc" for letter in {*text} - {*"\t\n\v\f\r\x1a\x85"}):
        raise ValueError(f"the file is {kind[0]}, no text." if kind and kind[0] != "a text" else "the file is no text.")
    if kind and kind[0] in ("a web page", "the pointer of Git LFS in place of the picture"):
        raise ValueError(f"the file is {kind[0].replace('picture', 'text')}. Fetch it again.")
    return text.lstrip("\ufeff"), guessed


def _guess(content: bytes) -> tuple[str, str]:
    """As `decoded`, of what is not in UTF-8. A list of words is short, so a reading counts only where all of it is as
    people write, and what is left is weighed by its language; "\\0" for what is no text."""
    if any(byte < 32 and byte not in b"\t\n\r\x1a" for byte in content):
        return "\0", ""
    readings: dict[str, str] = {}  # text -> encoding
    for encoding in BEFORE_UTF_8:
        text = _read(content, encoding)
        if text is not None:
            readings.setdefault(text, encoding)
    # That all bytes are pairs of everyday characters is no chance, unless most are Latin letters anyway.
    in_pairs = {text: encoding for text, encoding in readings.items() if BEFORE_UTF_8[encoding][1]}
    in_bytes = {text: encoding for text, encoding in readings.items() if text not in in_pairs}
    is_latin = len(re.findall(rb"[a-zA-Z]", content)) > len(re.findall(rb"[\x80-\xff]", content))
    readings = (in_bytes or in_pairs) if is_latin else (in_pairs or in_bytes)
    own_letters = {text: re.sub(r"[\x00-\x7f]", "", text) for text in readings}
    if any(letters.islower() for letters in own_letters.values()):  # capitals in one encoding are small in another
        readings = {text: encoding for text, encoding in readings.items() if not own_letters[text].isupper()}
    likely = _weighed(content, readings) if len(readings) > 1 else readings
    own = codecs.lookup(locale.getpreferredencoding(False)).name
    chosen = next((text for choice in (own, WESTERN) for text in likely if likely[text] == choice), None)
    if len(likely) == 1:
        chosen = next(iter(likely))
    begun = [
        f"{' '.join(text.split())[:SHOWN]!r} in {BEFORE_UTF_8[encoding][0]}"
        for text, encoding in {**likely, **(in_pairs if is_latin else {})}.items()
        if text != chosen
    ]
    others = " or ".join(begun[:MOST_SHOWN])
    if chosen is None:
        may_be = f": it may begin with {others}" if others else ""
        raise ValueError(f"it is not in UTF-8, and it is not clear in what else{may_be}. Save it as UTF-8.")
    name = BEFORE_UTF_8[likely[chosen]][0] + (f"; it may be {others} too" if others else "")
    return chosen, f"it is not in UTF-8, so it was read as {name}. If letters are wrong, save it as UTF-8."


def _read(content: bytes, encoding: str) -> str | None:
    """The text in an encoding; None where it is not in that, or nobody would write so."""
    everyday = BEFORE_UTF_8[encoding][1]
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    if everyday:
        characters = [letter.encode(encoding) for letter in text if not letter.isascii()]
        rare = sum(not re.fullmatch(everyday, character) for character in characters)
        is_mixed = re.search(r"[a-z][^\W\d_a-zA-Z]|[^\W\d_a-zA-Z][a-z]", text)
        return text if rare <= RARE * len(characters) and not is_mixed else None
    accents = groupby(text, lambda letter: unicodedata.combining(letter) > 0)
    if any(is_accent and sum(1 for _ in run) > MOST_MARKS for is_accent, run in accents):
        return None
    words = re.findall(r"[^\W\d_]+", unicodedata.normalize("NFC", text))
    scripts_agree = all(len({unicodedata.name(letter, "?").split()[0] for letter in word}) == 1 for word in words)
    cases_agree = all(word[1:] in (word[1:].lower(), word[1:].upper()) for word in words if not word.isascii())
    letters = "".join(letter for letter in re.sub(QUOTES, "", text) if not letter.isascii() and letter not in "\xa0’")
    are_letters = all(unicodedata.category(letter)[0] in "LM" for letter in letters)
    return text if scripts_agree and cases_agree and are_letters else None


def _weighed(content: bytes, readings: dict[str, str]) -> dict[str, str]:
    """The readings that look most like a language."""
    from charset_normalizer import from_bytes  # slow to import

    sample = content[: content.find(b"\n", ENOUGH) + 1] or content
    matches = from_bytes(sample, cp_isolation=[*readings.values()])
    weights = {str(match): (round(match.chaos, 2), -round(match.coherence, 2)) for match in matches}
    found = {text: weights.get(sample.decode(encoding), (1.0, 0.0)) for text, encoding in readings.items()}
    return {text: readings[text] for text in found if found[text] == min(found.values())}
