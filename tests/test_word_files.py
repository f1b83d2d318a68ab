"""Words that come from a file: in which kinds of files, and in which encodings."""

import re
from contextlib import suppress

import pytest

from proxyclip_core import WordsWarning, read_words
from proxyclip_core.word_files import words_in


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "# of my own\nsky; cloud\nhill\n"),
        ("a.json", '[["sky", "cloud"], "hill"]'),
        ("names.json", '{"names": [["sky", "cloud"], "hill"]}'),
        ("a.csv", "Idx,Ratio,Name\n1,0.2,sky;cloud\n2,0.1,hill\n"),
        ("a.csv", "\ufeff1,sky;cloud\r\n2,hill\r\n"),
        ("a.csv", "sky;cloud\nhill\n"),
        ("a.tsv", "id\tlabel\n0\tsky;cloud\n1\thill\n"),
        ("a.csv", 'id;name\n0;"sky;cloud"\n1;hill\n'),  # Excel, where a comma is the decimal point
        ("a.csv", 'sep=;\n0;"sky;cloud"\n1;hill\n'),
        ("data.yaml", "path: x\nnames:\n  0: [sky, cloud]\n  1: hill\nnc: 2\n"),  # YOLO
        ("a.yml", "names: [[sky, cloud], 'hill']\n"),
        (
            "label_map.pbtxt",  # TensorFlow
            "# of my own\nitem {\n  id: 1\n  name: '/m/01'\n  display_name: \"sky; cloud\"\n}\n"
            "item { name: 'hill' id: 2 }\n",
        ),
        ("a.jsonl", '{"name": ["sky", "cloud"]}\n{"name": "hill"}\n'),
        ("meta.json", '{"classes": [{"title": ["sky", "cloud"], "shape": "any"}, {"title": "hill"}]}'),  # Supervisely
        ("labels.txt", "0 sky; cloud\n1 hill\n"),
        ("labels.txt", "sky; cloud 1\nhill 2\n"),
        ("labels.txt", "__ignore__\nsky; cloud\nhill\n"),  # labelme
        ("obj.names", "sky; cloud\nhill\n"),  # darknet
        ("labelmap.txt", "# label:color_rgb:parts:actions\nsky;cloud:0,0,128::\nhill:0,128,0::\n"),  # CVAT
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_words_from_a_file(tmp_path, name, content, encoding):
    (tmp_path / name).write_bytes(content.encode(encoding))
    assert read_words(tmp_path / name) == (("sky", "cloud"), ("hill",))


def test_a_quoted_comma_in_a_table_and_a_windows_code_page(tmp_path):
    (tmp_path / "a.csv").write_bytes('name\n"palm, tall"\nmontaña\n'.encode("cp1252"))
    with pytest.warns(WordsWarning, match="a.csv: it is not in UTF-8, so it was read as Windows' Western code page"):
        assert read_words(tmp_path / "a.csv") == (("palm, tall",), ("montaña",))


@pytest.mark.parametrize(
    ("encoding", "words", "called"),
    [
        ("gb18030", "天空\n山\n马", "GB 18030"),
        ("gbk", "天空，山，马", "GB 18030"),
        ("gbk", "①天空\n②草地\n③房子\n④道路\n⑤汽车\n⑥河流\n⑦湖泊\n⑧树木\n⑨蜥蜴", "GB 18030"),
        ("big5", "天空\n山\n馬", "Big5"),
        ("shift_jis", "空\n山\n馬", "Shift-JIS"),
        ("shift_jis", "そら、やま、うま", "Shift-JIS"),
        ("euc_jp", "空\n雲\n草\n木\n家\n道路\n車\n人\n川\n湖", "EUC-JP"),
        ("euc_kr", "하늘\n산\n말", "EUC-KR"),
        ("cp1251", "небо\nоблако\nтрава\nдерево\nдом\nдорога\nмашина\nчеловек\nрека", "Cyrillic"),
        ("koi8_r", "небо\nоблако\nтрава\nдерево\nдом\nдорога\nмашина\nчеловек\nрека", "KOI8-R"),
        ("cp1250", "niebo\nłąka\ndrzewo\nżółw", "Central European"),
        ("cp1252", "Ål\nhus", "Western"),
        ("koi8_r", "name небо\nоблако\nтрава\nдерево\nдом\nдорога\nмашина\nчеловек\nрека", "KOI8-R"),
        ("cp1252", "iPhone\ncafé", "Western"),
        ("cp1252", "château d’eau\n“forêt”", "Western"),
        ("cp1253", "ουρανός\nλόφος\nάλογο\nδέντρο", "Greek"),
        ("cp874", "ท้องฟ้า\nภูเขา\nม้า", "Thai"),
        # Lists of two or three words.
        ("cp1251", "небо\nгора\nлошадь", "Windows' Cyrillic"),
        ("cp1251", "НЕБО\nГОРА", "Windows' Cyrillic"),
        ("cp1251", "їжак\nліс", "Windows' Cyrillic"),
        ("cp1251", "небе\nтрева\nкон", "Windows' Cyrillic"),
        ("cp1251", "дом", "Windows' Cyrillic"),
        ("koi8_r", "небо\nгора\nлошадь", "KOI8-R"),
        ("koi8_u", "небо\nтрава\nкінь", "KOI8-U"),
        ("cp866", "кошка\nсобака", "DOS' Cyrillic"),
        ("iso8859_5", "небо\nгора\nлошадь", "ISO 8859-5"),
        ("cp1255", "שמיים\nהר\nסוס", "Windows' Hebrew"),
        ("cp1255", "כלב\nחתול", "Windows' Hebrew"),
        ("cp862", "שמיים\nהר\nסוס", "DOS' Hebrew"),
        ("cp1256", "سماء\nجبل\nحصان", "Windows' Arabic"),
        ("cp1256", "سماء،عشب،شجرة", "Windows' Arabic"),
        ("cp1256", "آسمان\nکوه\nاسب", "Windows' Arabic"),
        ("cp1253", "σκύλος\nγάτα", "Windows' Greek"),
        ("iso8859_7", "Άλογο\nδέντρο", "ISO 8859-7"),
        ("cp1254", "gökyüzü\ndağ\nat", "Windows' Turkish"),
        ("cp1250", "niebo\nwzgórze\nkoń", "Windows' Central European"),
        ("cp1250", "ég\nfű\nerdő", "Windows' Central European"),
        ("cp1250", "câine\npisică", "Windows' Central European"),
        ("iso8859_2", "niebo\nłąka\nśnieg", "ISO 8859-2"),
        ("cp1257", "dangus\nžolė\nšuo", "Windows' Baltic"),
        ("cp1252", "Þór\nfjöll\nský", "Western"),
        ("mac_roman", "montaña\ncielo\nárbol", "Mac's Western"),
        ("cp850", "Himmel\nHügel\nBäume", "DOS' Western"),
        ("cp852", "łąka\nżółw", "DOS' Central European"),
    ],
)
def test_words_in_an_encoding_of_before_utf_8_are_read_and_it_is_said_as_what(tmp_path, encoding, words, called):
    (tmp_path / "a.txt").write_bytes(words.encode(encoding))
    with pytest.warns(WordsWarning, match=f"a.txt: it is not in UTF-8, so it was read as .*{called}"):
        assert read_words(tmp_path / "a.txt") == tuple(
            (word.strip("“”①②③④⑤⑥⑦⑧⑨"),) for word in re.split("[\n，、،]", words)
        )


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "iso2022_jp", "utf-8-sig"])
def test_encodings_that_show_by_themselves_are_read_without_a_word(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("天空\n山\n".encode(encoding))
    assert read_words(tmp_path / "a.txt") == (("天空",), ("山",))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("空\n山\n馬".encode("euc_jp"), "may begin with .*'空 山 馬' in EUC-JP"),
        ("בית".encode("cp1255"), "may begin with .*'αιϊ' in Windows' Greek .*'בית' in Windows' Hebrew"),
        ("سماء\nجبل\nحصان".encode("iso8859_6"), "'سماء جبل حصا' in ISO 8859-6"),
        (b"sky\nh\xa4i\xa6l\xff\xa5", "not clear in what else. Save it as UTF-8"),
        (bytes(range(256)), "no text"),
    ],
)
def test_what_may_be_in_several_encodings_or_in_none_is_refused(tmp_path, content, said):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"^a.txt: .*{said}"):
        read_words(tmp_path / "a.txt")


@pytest.mark.filterwarnings("error", "ignore::pytest.PytestUnraisableExceptionWarning")  # left by other tests
def test_a_single_letter_that_is_not_in_utf_8_warns_of_nothing_that_is_not_ours(tmp_path):
    for byte in range(0x80, 0x100):
        (tmp_path / "a.txt").write_bytes(bytes([byte]))
        with suppress(ValueError):
            words_in(tmp_path / "a.txt")


def test_of_several_encodings_the_one_of_this_machine_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda _: "cp1255")
    (tmp_path / "a.txt").write_bytes("בית".encode("cp1255"))
    with pytest.warns(WordsWarning, match="Hebrew code page; it may be '.*' in Windows' Greek code page .*too"):
        assert read_words(tmp_path / "a.txt") == (("בית",),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.pbtxt", 'node { name: "x" }'),
        ("a.xml", "<annotation><object><name>sky</name></object></annotation>"),
        ("a.json", '[{"colour": "red"}]'),
        *(("a.json", text) for text in ("{", "3", "[3]")),
        *(("a.yaml", text) for text in ("[", "sky", "[&a [x], *a]", "- a\n" * 30_000)),
        *(("a.txt", text) for text in ("\n", "<!doctype html><html>", "\x89PNG\r\n\x1a\n\0\0\0")),
        ("a.csv", ""),
    ],
)
def test_a_file_without_words_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=rf"^{name}: "):
        read_words(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a" + " " * 499_000 + "x"),
        ("a.txt", "«a," * 150_000),
        ("a.pbtxt", "item" + " " * 499_000),
        ("a.pbtxt", "\n" * 499_000),
        ("a.pbtxt", "item{" * 100_000),
    ],
)
def test_no_file_of_words_takes_its_reader_back_and_forth(tmp_path, name, text):
    """Else this takes hours, and Python can do nothing else meanwhile."""
    (tmp_path / name).write_text(text, encoding="utf-8")
    with suppress(ValueError):
        words_in(tmp_path / name)


def test_names_that_end_in_numbers_are_no_numbered_list(tmp_path):
    (tmp_path / "zones.txt").write_text("zone 1\nzone 2\n")
    assert words_in(tmp_path / "zones.txt")[0] == (("zone 1",), ("zone 2",))


def test_a_stray_zero_makes_no_text_of_16_bits(tmp_path):
    (tmp_path / "words.txt").write_bytes(b"sky\0hill, sun\n")
    with pytest.raises(ValueError, match="no text"):
        words_in(tmp_path / "words.txt")


def test_a_file_of_accents_without_end_is_no_text_at_once(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xe0" + b"\xc0\xc5" * 150_000)  # points of Hebrew, which one reading of it would put in order
    with pytest.raises(ValueError):
        words_in(path)
