"""/health says at any time that the page is there, and what it holds."""

from __future__ import annotations

import threading

import httpx
from gradio_client import Client, handle_file

import proxyclip_core as pc
from demo.models import Models
from tests.serving import OneModel, page_around


class Waiting(OneModel):
    """Goes on when it is told to."""

    def __init__(self, model) -> None:
        super().__init__(model)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def get(self, clip, vfm, say=lambda done, text: None):
        self.begun.set()
        assert self.go_on.wait(60)
        return self.model


def test_it_answers_while_a_long_job_runs(tiny_model, blocks_file):
    models = Waiting(tiny_model)
    with page_around(models) as url:
        given = {"windows": "whole", "templates": "none", "api_name": "/segment"}
        job = Client(url, verbose=False).submit(handle_file(blocks_file), "sky, tree", **given)
        assert models.begun.wait(60)
        answer = httpx.get(f"{url}health", trust_env=False)
        assert not job.done() and answer.json()["status"] == "ok" and answer.json()["version"] == pc.__version__
        models.go_on.set()
        assert job.result(60)[2]["names"] == ["sky", "tree"]


def test_it_names_the_models_in_memory(tiny_clip, tiny_vfm):
    models = Models("cpu", find=lambda spec: None, load_clip=lambda *a: tiny_clip, load_vfm=lambda *a: tiny_vfm)
    assert models.loaded() == []
    models.get("OpenAI B/16", "DINO B/8")
    assert models.loaded() == ["OpenAI B/16", "DINO B/8"]


def test_it_answers_while_the_thread_that_computes_is_in_an_encoder(tiny_clip, tiny_vfm, blocks_file, monkeypatch):
    models = Models("cpu", find=lambda spec: None, load_clip=lambda *a: tiny_clip, load_vfm=lambda *a: tiny_vfm)
    models.get("OpenAI B/16", "DINO B/8")
    begun, go_on, encode = threading.Event(), threading.Event(), tiny_vfm.encode_windows

    def slow(windows):
        begun.set()
        assert go_on.wait(60)
        return encode(windows)

    monkeypatch.setattr(tiny_vfm, "encode_windows", slow)
    with page_around(models) as url:
        given = {"windows": "whole", "templates": "none", "api_name": "/segment"}
        job = Client(url, verbose=False).submit(handle_file(blocks_file), "sky, tree", **given)
        assert begun.wait(60)
        assert httpx.get(f"{url}health", trust_env=False).json()["models"] == ["OpenAI B/16", "DINO B/8"]
        assert not job.done()
        go_on.set()
        assert job.result(60)[2]["names"] == ["sky", "tree"]


def test_a_page_to_which_many_come_as_it_starts_goes_on(tiny_model, monkeypatch):
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)  # as where it has not answered within 3 s
    with page_around(tiny_model) as url:
        assert httpx.get(f"{url}health", trust_env=False).status_code == 200
