"""demo.models and demo.menus: loading on first use, what stays in memory, what the menus say."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import proxyclip_core as pc
from demo import limits, menus
from demo.models import Download, Models, fetched_bytes
from proxyclip_core.models import sam


class Loads:
    """Stand-ins for the loaders that write down what they were asked for."""

    def __init__(self, clip, vfm, missing: str = "") -> None:
        self.clip, self.vfm, self.missing = clip, vfm, missing
        self.damaged = ""
        self.loaded: list[str] = []

    def fetch(self, spec) -> Path:
        if spec.name == self.missing:
            raise pc.WeightsError(f"no weights of {spec.name}")
        return Path(spec.name)

    def load_clip(self, name, device, dtype):
        self.loaded.append(name)
        return self.clip

    def load_vfm(self, name, device, dtype):
        if name == self.damaged:
            raise pc.WeightsError(f"{name} is damaged")
        self.loaded.append(name)
        return self.vfm

    def models(self) -> Models:
        return Models("cpu", fetch=self.fetch, find=self.fetch, load_clip=self.load_clip, load_vfm=self.load_vfm)


@pytest.fixture
def loads(tiny_clip, tiny_vfm) -> Loads:
    return Loads(tiny_clip, tiny_vfm)


def test_nothing_loads_before_it_is_used(loads):
    loads.models()
    assert loads.loaded == []


def test_a_model_loads_once_and_says_so(loads):
    models, said = loads.models(), []
    for _ in range(2):
        model = models.get("OpenAI B/16", "DINO B/8", say=lambda done, text: said.append((done, text)))
        assert isinstance(model, pc.ProxyCLIP)
    assert loads.loaded == ["OpenAI B/16", "DINO B/8"]
    assert [text for _, text in said] == [
        "Loading OpenAI B/16 …",
        "Loading DINO B/8 …",
    ]
    assert [done for done, _ in said] == sorted(done for done, _ in said)


def test_another_vfm_leaves_the_clip_loaded(loads):
    models = loads.models()
    models.get("OpenAI B/16", "DINO B/8")
    models.get("OpenAI B/16", "DINO B/16")
    assert loads.loaded == ["OpenAI B/16", "DINO B/8", "DINO B/16"]


def test_the_last_two_stay(loads):
    models = loads.models()
    for vfm in ("DINO B/8", "DINO B/16", "DINO B/8", "DINO S/8", "DINO B/8", "DINO B/16"):
        models.get("OpenAI B/16", vfm)
    assert loads.loaded == ["OpenAI B/16", "DINO B/8", "DINO B/16", "DINO S/8", "DINO B/16"]


def test_weights_that_are_missing_drop_nothing(loads):
    models = loads.models()
    models.get("OpenAI B/16", "DINO B/8")
    models.get("OpenAI B/32", "DINO B/16")
    loads.missing = "SAM B/16"
    with pytest.raises(pc.WeightsError, match="SAM B/16"):
        models.get("OpenAI L/14", "SAM B/16")
    models.get("OpenAI B/16", "DINO B/8")
    assert loads.loaded == ["OpenAI B/16", "DINO B/8", "OpenAI B/32", "DINO B/16"]


def test_a_load_that_fails_leaves_the_good_models_where_they_were(loads):
    models = loads.models()
    models.get("OpenAI B/16", "DINO B/8")
    models.get("OpenAI B/32", "DINO B/16")
    loads.damaged = "SAM B/16"
    with pytest.raises(pc.WeightsError, match="SAM B/16 is damaged"):
        models.get("OpenAI L/14", "SAM B/16")
    loads.loaded.clear()
    models.get("OpenAI B/16", "DINO B/8")
    models.get("OpenAI B/32", "DINO B/16")
    assert loads.loaded == []


def test_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="device is 'gpu7'"):
        Models("gpu7")


def test_every_model_is_in_the_menus():
    assert [name for _, name in menus.clip_choices()] == list(pc.CLIP_MODELS)
    names = [pc.find_vfm(family, patch).name for _, family in menus.family_choices() for _, patch in sizes(family)]
    assert sorted(names) == sorted(pc.VFM_MODELS)


def sizes(family: str) -> list[tuple[str, int]]:
    return menus.patch_choices(family)


def test_menus_say_what_will_be_downloaded():
    labels = [label for label, _ in menus.clip_choices() + menus.family_choices()]
    assert "OpenAI B/16 · download 599 MB" in labels
    assert "LAION H/14 · download 3.9 GB" in labels
    assert "MAE B · download 343 MB · CC-BY-NC-4.0" in labels


def test_a_patch_size_of_another_family_falls_back():
    assert menus.vfm_name("DINO B", 16) == "DINO B/16"
    assert menus.vfm_name("DINO B", 14) == menus.vfm_name("DINO B", None) == "DINO B/8"


def test_menus_say_what_is_here(monkeypatch, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "vit_base_patch16_224.dino.safetensors")
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    assert ("DINO B · ready", "DINO B") in menus.family_choices()
    assert "**DINO B/16** is on this machine. Licence: Apache-2.0." in menus.about("OpenAI B/16", "DINO B/16")


@pytest.mark.parametrize(("vfm", "words"), [("MAE B/16", "not for commercial use"), ("DINOv3 B/16", "DINOv3 licence")])
def test_limits_of_a_licence_are_said(vfm, words):
    assert words in menus.about("OpenAI B/16", vfm)


def test_a_download_says_how_far_it_is_while_others_go_on(loads, monkeypatch):
    """The weights come in two halves; the second only when the first was seen, and after the present pair was used."""
    here, sizes, seen = set(), iter([0, 300_000_000, 605_000_000]), threading.Event()
    monkeypatch.setattr(pc, "is_available", lambda spec: spec.name in here)

    def fetch(spec):
        if spec.name == "OpenAI B/32":
            assert seen.wait(60)
            here.add(spec.name)
        return Path(spec.name)

    loads.fetch = fetch
    models = Models(
        "cpu",
        fetch=fetch,
        find=fetch,
        load_clip=loads.load_clip,
        load_vfm=loads.load_vfm,
        fetched=lambda spec: next(sizes, 9**9),
    )
    here.update(("OpenAI B/16", "DINO B/8"))
    assert models.ready("OpenAI B/16", "DINO B/8") and not models.ready("OpenAI B/32", "DINO B/8")
    steps = models.fetch("OpenAI B/32", "DINO B/8")
    assert next(steps) == Download("OpenAI B/32", 0, 605_000_000)
    assert next(steps).done == 300_000_000
    models.get("OpenAI B/16", "DINO B/8")  # nobody waits for the download
    seen.set()
    assert all(step.done <= step.total for step in steps)
    assert models.ready("OpenAI B/32", "DINO B/8")


def test_a_download_that_fails_says_why(tiny_clip, tiny_vfm, monkeypatch):
    monkeypatch.setattr(pc, "is_available", lambda spec: False)
    models = Loads(tiny_clip, tiny_vfm, missing="OpenAI B/32").models()
    with pytest.raises(pc.WeightsError, match="no weights of OpenAI B/32"):
        list(models.fetch("OpenAI B/32", "DINO B/8"))


def test_what_has_come_is_counted_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    spec = pc.find_clip("OpenAI B/32")
    assert fetched_bytes(spec) == 0
    blobs = tmp_path / "models--timm--vit_base_patch32_clip_224.openai" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.incomplete").write_bytes(bytes(1000))
    assert fetched_bytes(spec) == 1000


def test_a_file_that_is_renamed_while_it_is_counted_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    spec = pc.find_clip("OpenAI B/32")
    blobs = tmp_path / "models--timm--vit_base_patch32_clip_224.openai" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "whole").write_bytes(bytes(500))
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: [folder / "gone.incomplete", folder / "whole"])
    assert fetched_bytes(spec) == 500


def test_nobody_waits_for_a_download_that_nobody_listens_to(loads, monkeypatch):
    monkeypatch.setattr(pc, "is_available", lambda spec: False)
    go_on, fetched = threading.Event(), threading.Event()
    loads.fetch = lambda spec: go_on.wait(60) and fetched.set()
    steps = loads.models().fetch("OpenAI B/32", "DINO B/8")
    next(steps), next(steps)
    steps.close()  # returns although the weights have not come
    go_on.set()
    assert fetched.wait(60)


def test_a_download_that_was_abandoned_is_joined_and_not_begun_again(loads, monkeypatch):
    monkeypatch.setattr(pc, "is_available", lambda spec: spec.name != "DINO B/8")
    go_on, begun = threading.Event(), []
    loads.fetch = lambda spec: begun.append(spec.name) or go_on.wait(60)
    models = loads.models()
    for _ in range(3):
        steps = models.fetch("OpenAI B/32", "DINO B/8")
        next(steps), next(steps)
        steps.close()
    waiting = models.fetch("OpenAI B/32", "DINO B/8")
    next(waiting), next(waiting)
    go_on.set()
    list(waiting)
    assert begun == ["DINO B/8"]
    list(models.fetch("OpenAI B/32", "DINO B/8"))  # one that has ended says nothing of the next
    assert begun == ["DINO B/8"] * 2


def test_models_that_are_there_can_be_had_while_weights_come(loads):
    models, go_on = loads.models(), threading.Event()
    models.get("OpenAI B/16", "DINO B/8")
    fetch = models._fetch
    models._fetch = lambda spec: go_on.wait(20) and fetch(spec)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(lambda: list(models.fetch("OpenAI B/16", "DINO S/8")))
        try:
            assert models.get("OpenAI B/16", "DINO B/8").vfm is not None and not slow.done()
        finally:
            go_on.set()
        slow.result(20)


def test_what_is_not_here_is_not_downloaded_while_others_wait(tiny_clip, tiny_vfm, monkeypatch):
    monkeypatch.setattr("proxyclip_core.models.weights._download", lambda spec: pytest.fail("a download was started"))
    with pytest.raises(pc.WeightsError, match=r"(?s)not asked, because others wait.*hf download"):
        Models("cpu").get("OpenAI B/16", "DINO B/8")


def test_visitors_of_a_public_page_have_nothing_downloaded(loads, monkeypatch):
    monkeypatch.setattr(limits, "DOWNLOADS", False)
    loads.fetch = lambda spec: pytest.fail("a download was started")
    with pytest.raises(pc.WeightsError, match="visitors of this page may not have models downloaded"):
        list(loads.models().fetch("OpenAI B/32", "DINO B/8"))
    assert menus.state(pc.find_clip("OpenAI B/32")) == "not here"
    assert "is not on this machine" in menus.about("OpenAI B/32", "DINO B/8")


def test_models_leave_where_the_memory_has_no_room_for_all(loads, monkeypatch):
    names = ("LAION H/14", "DINO B/8", "DINOv3 H+/16", "SAM H/16")
    sizes = {name: menus.bytes_of(name) for name in names}
    monkeypatch.setattr(limits, "MODELS_BYTES", sizes["LAION H/14"] + sizes["DINOv3 H+/16"] + sizes["DINO B/8"] - 1)
    models = loads.models()
    models.get("LAION H/14", "DINO B/8")
    models.get("LAION H/14", "DINOv3 H+/16")
    assert models.loaded() == ["LAION H/14", "DINOv3 H+/16"]
    models.get("LAION H/14", "SAM H/16")
    assert models.loaded() == ["LAION H/14", "SAM H/16"]


def test_a_sam_that_is_asked_for_regions_has_its_place_among_the_models(loads, monkeypatch):
    let_go = []
    monkeypatch.setattr(sam, "whole_file", lambda spec: None)
    monkeypatch.setattr(sam, "forget", lambda: let_go.append("SAM"))
    monkeypatch.setattr(limits, "MODELS_BYTES", sum(map(menus.bytes_of, ("OpenAI B/16", "DINO B/8", "SAM B/16"))))
    models = loads.models()
    models.get("OpenAI B/16", "DINO B/8")
    models.get("OpenAI B/16", "DINO S/8")
    models.room_for("OpenAI B/16", "DINO S/8", "SAM B/16")
    assert models.loaded() == ["OpenAI B/16", "DINO S/8", "SAM B/16"] and not let_go
    models.get("OpenAI B/16", "DINO B/8")  # SAM is quick to read again
    assert models.loaded() == ["OpenAI B/16", "DINO S/8", "DINO B/8"] and let_go == ["SAM"]
    monkeypatch.setattr(limits, "PUBLIC", True)
    with pytest.raises(
        ValueError, match=r"LAION H/14, DINO B/8, SAM H/16 take 9\.2 GB of memory together; here 3\.7 GB"
    ):
        models.room_for("LAION H/14", "DINO B/8", "SAM H/16")


def test_on_cpu_basic_any_pair_of_the_menus_has_room():
    memory = 12e9  # of its 16 GB, which is what `limits` takes of them; what visitors keep takes what is left
    largest = [max(menus.bytes_of(name) for name in table) for table in (pc.CLIP_MODELS, pc.VFM_MODELS)]
    assert limits.PROCESS_BYTES + sum(largest) < memory
    assert limits.ALL_KEPT_BYTES <= limits.MEMORY_BYTES / 4 and limits.MODELS_BYTES <= limits.MEMORY_BYTES * 2 / 3


def test_a_menu_says_which_model_this_machine_is_too_small_for(monkeypatch):
    monkeypatch.setattr(limits, "MEMORY_BYTES", 4_000_000_000)
    labels = [label for label, _ in menus.clip_choices()]
    assert "LAION H/14 · download 3.9 GB · needs 5 GB of memory" in labels
    assert "OpenAI B/16 · download 599 MB" in labels


def test_the_memory_is_that_of_the_machine_or_of_its_container(monkeypatch, tmp_path):
    physical = limits.machine_bytes()
    assert 10**8 < physical < 10**14
    (tmp_path / "memory.max").write_text("1000000000\n")
    monkeypatch.setattr(limits, "CGROUPS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    assert limits.machine_bytes() == 1_000_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert limits.machine_bytes() >= physical
