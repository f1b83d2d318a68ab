"""Files of text that people bring, in whatever encoding their tools write."""

from __future__ import annotations

import codecs
import locale
import re
import unicodedata
from functools import partial
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
    "koi8_u": ("KOI8-U (Cyrillic)", b""),
    "cp1253": ("Windows' Greek code page", b""),
    "cp1254": ("Windows' Turkish code page", b""),
    "cp1255": ("Windows' Hebrew code page", b""),
    "cp1256": ("Windows' Arabic code page", b""),
    "cp1257": ("Windows' Baltic code page", b""),
    "cp874": ("Windows' Thai code page", b""),
    "mac_roman": ("Mac's Western encoding", b""),
    "mac_cyrillic": ("Mac's Cyrillic encoding", b""),
    "iso8859_2": ("ISO 8859-2 (Central European)", b""),
    "iso8859_5": ("ISO 8859-5 (Cyrillic)", b""),
    "iso8859_6": ("ISO 8859-6 (Arabic)", b""),
    "iso8859_7": ("ISO 8859-7 (Greek)", b""),
    "cp850": ("DOS' Western code page", b""),
    "cp852": ("DOS' Central European code page", b""),
    "cp862": ("DOS' Hebrew code page", b""),
    "cp866": ("DOS' Cyrillic code page", b""),
}
# How often lists come in what is not Windows', or is of few people, where others write the same bytes.
SELDOM = {"koi8_r": 0.5, "koi8_u": 0.5, "cp1257": 0.5, "mac_roman": 0.3, "mac_cyrillic": 0.15}
SELDOM |= {"iso8859_2": 0.3, "iso8859_5": 0.3, "iso8859_6": 0.3, "iso8859_7": 0.3}
SELDOM |= {"cp850": 0.15, "cp852": 0.15, "cp862": 0.15, "cp866": 0.15}
ICELANDIC, OF_FEW = "ðþ", 0.2  # in the bytes of two Turkish letters, which are written by two hundred times as many
CAPITALS = 0.5  # capitals in one encoding are small letters in another, and few write in capitals alone
# The letters past a to z of languages that are written in Latin ones.
ALPHABETS = (
    *("àâæçéèêëîïôœùûüÿ", "áéíïñóúü", "àáâãçéêíóôõúü", "àèéìíîòóùú", "àçèéíïòóúü", "äöüß", "áèéêëíïóöü", "åäöæøéüšž"),
    *("áðéíóúýþæöø", "ąćęłńóśźż", "áäčďéěíĺľňóôŕřšťúůýž", "áéíóöőúüű", "ăâîșțşţ", "čćđšž", "âçğîıöşûü", "çë"),
    *("ąčęėįšųūž", "āčēģīķļņōŗšūž", "äõöüšž"),
)
RARE = 0.1  # share of the characters that may be others
CLEAR, SURELY = 1.5, 3  # how many times as much one reading is like a language as others, and as one in pairs of bytes
BY_CHANCE = range(6, 60)  # bytes past ASCII that may all be pairs by chance; fewer are one or two characters
ENOUGH = 20_000  # bytes from which a language is known
MOST_MARKS = 30  # accents on one letter: nobody writes more, and to put them in order takes time with their square
OUT_OF_PLACE = re.compile(r"[ςךםןףץ]\w|\wσ\b")  # letters that stand at the end of a word, and one that never does
QUOTES = r"[،؛]|(?<!\w)[“”„‘’«»–—…]|[“”„‘’«»–—…](?!\w)"
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
    sample = content if len(content) <= ENOUGH else content[:ENOUGH].rpartition(b"\n")[0] or content[:ENOUGH]
    readings: dict[str, str] = {}  # the sample's text -> encoding
    for encoding in filter(partial(_decodes, content), BEFORE_UTF_8):
        text = _read(sample, encoding)
        if text is not None:
            readings.setdefault(text, encoding)
    likely, others = _likely(sample, readings)
    own = codecs.lookup(locale.getpreferredencoding(False)).name
    chosen = next((text for choice in (own, WESTERN) for text in likely if likely[text] == choice), None)
    if len(likely) == 1:
        chosen = next(iter(likely))
    begun = [
        f"{' '.join(text.split())[:SHOWN]!r} in {BEFORE_UTF_8[encoding][0]}"
        for text, encoding in {**likely, **others}.items()
        if text != chosen
    ]
    told = " or ".join(begun[:MOST_SHOWN])
    if chosen is None:
        may_be = f": it may begin with {told}" if told else ""
        raise ValueError(f"it is not in UTF-8, and it is not clear in what else{may_be}. Save it as UTF-8.")
    name = BEFORE_UTF_8[likely[chosen]][0] + (f"; it may be {told} too" if told else "")
    said = f"it is not in UTF-8, so it was read as {name}. If letters are wrong, save it as UTF-8."
    return content.decode(likely[chosen]), said


def _likely(sample: bytes, readings: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The readings that look most like a language, and others that are named beside them."""
    readings = {text: encoding for text, encoding in readings.items() if _in_an_alphabet(text)} or readings
    in_pairs = {text: encoding for text, encoding in readings.items() if BEFORE_UTF_8[encoding][1]}
    in_bytes = {text: encoding for text, encoding in readings.items() if text not in in_pairs}
    is_latin = len(re.findall(rb"[a-zA-Z]", sample)) > len(re.findall(rb"[\x80-\xff]", sample))
    weights = _likeness(readings) if len(readings) > 1 else dict.fromkeys(readings, 1.0)
    best = max((weights[text] for text in in_bytes), default=0.0)
    # That all bytes are pairs of everyday characters is hardly chance, unless most are Latin letters anyway.
    is_chance = len(re.sub(rb"[\x00-\x7f]", b"", sample)) in BY_CHANCE
    is_chance = is_chance and all(best >= SURELY * weights[text] for text in in_pairs)
    if in_pairs and not (in_bytes and (is_latin or is_chance)):
        likely = _weighed(sample, in_pairs) if len(in_pairs) > 1 else in_pairs
        others = {text: encoding for text, encoding in in_bytes.items() if weights[text] > weights[next(iter(likely))]}
    else:
        likely = {text: encoding for text, encoding in in_bytes.items() if CLEAR * weights[text] >= best}
        others = in_pairs if is_latin else {}
    return likely, others


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        return bool(content.decode(encoding))
    except UnicodeDecodeError:
        return False


def _read(sample: bytes, encoding: str) -> str | None:
    """The text in an encoding; None where nobody would write so."""
    everyday = BEFORE_UTF_8[encoding][1]
    text = sample.decode(encoding, "ignore")  # it may end within a character
    if everyday:
        characters = [letter.encode(encoding) for letter in text if not letter.isascii()]
        rare = sum(not re.fullmatch(everyday, character) for character in characters)
        is_mixed = re.search(r"[a-z][^\W\d_a-zA-Z]|[^\W\d_a-zA-Z][a-z]", text)
        return text if rare <= RARE * len(characters) and not is_mixed else None
    accents = groupby(text, lambda letter: unicodedata.combining(letter) > 0)
    if any(is_accent and sum(1 for _ in run) > MOST_MARKS for is_accent, run in accents):
        return None
    composed = unicodedata.normalize("NFC", text)
    words = "".join(letter if unicodedata.category(letter)[0] in "LM" else " " for letter in composed).split()
    if any(len(word) > 2 and re.fullmatch(r"[\xc0-\u024f]+", word) for word in words):
        return None  # in Latin letters, but none of a to z
    scripts_agree = all(len({unicodedata.name(letter, "?").split()[0] for letter in word}) == 1 for word in words)
    cases_agree = all(word[1:] in (word[1:].lower(), word[1:].upper()) for word in words if not word.isascii())
    letters = "".join(letter for letter in re.sub(QUOTES, "", text) if not letter.isascii() and letter not in "\xa0’")
    are_letters = all(unicodedata.category(letter)[0] in "LM" for letter in letters)
    return text if scripts_agree and cases_agree and are_letters and not OUT_OF_PLACE.search(text) else None


def _in_an_alphabet(text: str) -> bool:
    """Whether all Latin letters are those of one language; other scripts tell by themselves."""
    letters = {letter for letter in text.lower() if "LATIN" in unicodedata.name(letter, "") and not letter.isascii()}
    return not letters or any(letters <= {*alphabet} for alphabet in ALPHABETS)


def _likeness(readings: dict[str, str]) -> dict[str, float]:
    """Text -> how much its pairs of letters are those of a language, weighed by how common its encoding is."""
    import chardet  # slow to import

    found = {}
    for text, encoding in readings.items():
        name = encoding.replace("euc_jp", "euc-jp")
        small = text.lower().encode(encoding, "ignore")  # words in capitals are words too
        found_as = chardet.detect_all(
            small,
            ignore_threshold=True,
            include_encodings=(name, "latin-1"),
            no_match_encoding="latin-1",
            empty_input_encoding="latin-1",  # as is a letter whose small one the encoding has not
        )
        matches = {codecs.lookup(match["encoding"] or name).name: match["confidence"] for match in found_as}
        seldom = SELDOM.get(encoding, 1) * (OF_FEW if {*ICELANDIC} & {*text.lower()} else 1)
        seldom *= CAPITALS if re.sub(r"[\x00-\x7f]", "", text).isupper() else 1
        found[text] = matches.get(codecs.lookup(encoding).name, 0.0) * seldom
    return found


def _weighed(sample: bytes, readings: dict[str, str]) -> dict[str, str]:
    """The readings that look most like a language."""
    from charset_normalizer import from_bytes  # slow to import

    matches = from_bytes(sample, cp_isolation=[*readings.values()])
    weights = {str(match): (round(match.chaos, 2), -round(match.coherence, 2)) for match in matches}
    found = {text: weights.get(sample.decode(encoding), (1.0, 0.0)) for text, encoding in readings.items()}
    return {text: readings[text] for text in found if found[text] == min(found.values())}
