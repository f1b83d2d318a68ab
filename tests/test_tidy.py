"""demo.tidy: what strangers leave behind goes by itself, however it came there."""

from __future__ import annotations

import http.client
import os
import time
from types import SimpleNamespace

import gradio as gr
import httpx
import pytest
from gradio import routes

from demo import limits, tidy
from demo.door import Door
from demo.tidy import Tidy, delete_old
from tests.serving import app_process, door_around, until
from tests.strangers.bad_inputs import NOISE, QUICK, UPLOADING, png
from tests.strangers.stranger import Stranger, uploaded


def files_in(folder) -> list[str]:
    return sorted(
        os.path.relpath(os.path.join(where, name), folder) for where, _, names in os.walk(folder) for name in names
    )


@pytest.fixture
def served(tiny_model, tmp_path, monkeypatch):
    """A page whose files lie in a folder of its own."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with door_around(tiny_model) as (demo, url):
        yield SimpleNamespace(demo=demo, url=url, folder=tmp_path, tidy=Tidy(demo, tmp_path))


def break_off(url: str) -> None:
    """An upload that ends in the middle of its file."""
    begun = b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + bytes(5_000)
    asking = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
    asking.putrequest("POST", "/gradio_api/upload")
    asking.putheader("content-type", UPLOADING)
    asking.putheader("content-length", "100000")
    asking.endheaders(begun)
    assert asking.getresponse().status == 408


def test_whatever_came_goes_and_what_the_page_is_made_of_stays(served, monkeypatch):
    monkeypatch.setattr(limits, "STALLED_SECONDS", 0.2)
    before, visitor = files_in(served.folder), Stranger(served.url)
    picture = visitor.upload("picture.png", png(NOISE))
    visitor.http.post("upload", files={"of another name": ("b.png", png(NOISE))}).raise_for_status()
    break_off(served.url)
    served_it, text = visitor.call(picture=picture, words="sky, tree", **QUICK)
    assert served_it, text
    visitor.call(picture=uploaded(os.path.dirname(picture["path"])), words="sky", **QUICK)  # a folder
    visitor.call(picture=uploaded(served.folder / "no such.png"), words="sky", **QUICK)
    assert len(files_in(served.folder)) >= len(before) + 4
    served.tidy.look_at_files()
    assert picture["path"] in served.demo.upload_file_set and os.path.exists(picture["path"])  # it is young
    monkeypatch.setattr(limits, "FILES_SECONDS", -1)
    served.tidy.look_at_files()
    kept = {os.path.realpath(file) for block in served.demo.blocks.values() for file in block.keep_in_cache}
    assert {os.path.realpath(served.folder / file) for file in files_in(served.folder)} <= kept
    assert not [file for listed in served.demo.temp_file_sets for file in listed if not os.path.exists(file)]
    assert visitor.call(picture=visitor.upload("picture.png", png(NOISE)), words="sky", **QUICK)[0]


def test_folders_go_once_they_have_been_empty_for_as_long(tmp_path):
    old, young, kept = (tmp_path / name / "a.png" for name in ("old", "young", "kept"))
    for file in (old, young, kept):
        file.parent.mkdir()
        file.write_bytes(b"")
    delete_old(tmp_path, 60)
    assert files_in(tmp_path) == ["kept/a.png", "old/a.png", "young/a.png"]
    time.sleep(0.05)
    young.write_bytes(b"anew")
    delete_old(tmp_path, 0.04, {str(kept)})
    assert files_in(tmp_path) == ["kept/a.png", "young/a.png"] and old.parent.exists()
    time.sleep(0.05)
    delete_old(tmp_path, 0.04, {str(kept)})
    assert sorted(os.listdir(tmp_path)) == ["kept", "young"] and not young.exists()
    (tmp_path / "old").mkdir()
    delete_old(tmp_path / "old", -1)
    assert (tmp_path / "old").exists()  # the folder itself stays


def test_answers_that_nobody_fetches_are_forgotten_after_a_while(served, monkeypatch):
    gone, here = Stranger(served.url), Stranger(served.url)
    queue = served.demo._queue
    for visitor in (gone, here):
        assert visitor.join(visitor.event("background", "input")).status_code == 200
    until(lambda: not queue.event_ids_to_events)
    served.tidy.look_at_answers()
    assert {gone.session, here.session} <= set(queue.pending_messages_per_session)  # they are young
    monkeypatch.setattr(limits, "UNREAD_SECONDS", 0)
    while not queue.pending_messages_per_session[here.session].empty():
        queue.pending_messages_per_session[here.session].get_nowait()
    served.tidy.look_at_answers()
    assert gone.session not in queue.pending_messages_per_session
    assert gone.session not in queue.pending_event_ids_session
    assert here.session in queue.pending_messages_per_session


def test_what_was_told_of_uploads_is_forgotten(served, monkeypatch):
    progress = routes.file_upload_statuses
    httpx.post(
        f"{served.url}gradio_api/upload?upload_id=ended", files={"files": ("a.png", png(NOISE))}
    ).raise_for_status()
    progress.track("going")
    progress._signals["asked of"]
    served.tidy.look_at_uploads()
    assert {"ended", "going"} <= set(progress._statuses) and "asked of" in progress._signals
    monkeypatch.setattr(limits, "FILES_LOOK", 0)
    served.tidy.look_at_uploads()
    assert "ended" not in progress._statuses and "going" in progress._statuses
    assert not {"ended", "asked of"} & set(progress._signals)
    monkeypatch.setattr(limits, "FILES_SECONDS", 0)
    served.tidy.look_at_uploads()
    assert "going" not in progress._statuses and "going" not in progress._signals


def test_one_look_that_fails_ends_nothing(tmp_path, monkeypatch, caplog):
    rounds, looked = iter((None, None)), []
    monkeypatch.setattr(tidy, "time", SimpleNamespace(sleep=lambda seconds: next(rounds)))
    with Door() as demo:
        gr.Button()
    one = Tidy(demo, tmp_path)
    monkeypatch.setattr(one, "look_at_files", lambda: 1 / 0)
    monkeypatch.setattr(one, "look_at_answers", lambda: looked.append("answers"))
    monkeypatch.setattr(one, "look_at_uploads", lambda: looked.append("uploads"))
    with pytest.raises(StopIteration):
        one.run()
    assert looked == ["answers", "uploads"] * 2 and "ZeroDivisionError" in caplog.text


def test_the_page_that_is_started_looks_after_its_files(tmp_path):
    own = {"PROXYCLIP_FILES_SECONDS": "0", "PROXYCLIP_FILES_LOOK": "1", "GRADIO_TEMP_DIR": str(tmp_path / "given")}
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "another's.png").write_bytes(b"")
    with app_process(tmp_path, **own) as url:
        (path,) = httpx.post(f"{url}gradio_api/upload", files={"files": ("a.png", png(NOISE))}).json()
        assert path.startswith(str(tmp_path / "given" / "proxyclip-"))
        until(lambda: not os.path.exists(path))
    assert os.listdir(tmp_path / "given") == ["another's.png"]
