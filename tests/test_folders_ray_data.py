"""The same run on a Ray cluster of this machine alone: the same files, also where a process is killed."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from proxyclip_core import ProxyCLIP, cli, evaluate, folder_data, load
from proxyclip_core.evaluation import DataSet
from proxyclip_core.folders import Output, Segmenter, find_pictures, map_pictures, ray_data
from proxyclip_core.folders.ray_data import map_on_ray
from proxyclip_core.interrupt import interruptible

ROOT = Path(__file__).parents[1]
ARGUMENTS = ("--words", "red, green", "--side", "as-is", "--templates", "none", "--clip", "Built-in", "--json")


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two cores, an actor on each."""
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'proxyclip[ray]'")
    pytest.importorskip("ray.data", reason="needs Ray Data: pip install 'proxyclip[ray]'")
    variables = {"PYTHONPATH": str(ROOT), "PROXYCLIP_CACHE": "off", "HF_HUB_OFFLINE": "1"}
    ray.init("local", num_cpus=2, include_dashboard=False, runtime_env={"env_vars": variables}, logging_level="error")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_data, "MOST_ON_CPU", 1)
        yield ray
    ray.shutdown()


@pytest.fixture
def album(four_areas, tmp_path) -> Path:
    """40 pictures in two folders, one of them no picture."""
    for number in range(40):
        path = tmp_path / "album" / f"part {number % 2}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(four_areas, number, axis=1)).save(path)
    (tmp_path / "album" / "part 1" / "07.png").write_bytes(b"no picture")
    return tmp_path / "album"


@dataclass(frozen=True)
class Mortal:
    """Loads the built-in pair. The first process that has it fuse its third picture dies by a signal that none can
    catch, where `flag` names a file that is not there yet."""

    flag: Path | None = None

    def __call__(self) -> ProxyCLIP:
        model, fused, flag = load("Built-in", "Built-in/8"), count(1), self.flag

        class Dying(ProxyCLIP):
            def fuse(self, *given, **more):
                if flag and next(fused) > 2 and not flag.exists():
                    flag.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().fuse(*given, **more)

        return Dying(model.clip, model.vfm)


@dataclass(frozen=True)
class Job:
    output: Output
    load: Mortal = Mortal()

    def __call__(self) -> Segmenter[dict[str, Any]]:
        model = self.load()
        settings = model.settings_of("red, green", side=None, templates="none")
        known = partial(self.output.record_if_done, settings=settings, computed_with=model.computed_with())
        return Segmenter(model, settings, self.output.write, known=known)


def test_ray_writes_the_same_files_though_an_actor_is_killed(cluster, album, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_data, "PICTURES_A_BATCH", 4)
    alone, by_ray, pictures = tmp_path / "alone", tmp_path / "by ray", find_pictures(album)
    formats = ("labels", "npz", "masks")
    expected = list(map_pictures(Job(Output(alone, formats))(), pictures))
    job = Job(Output(by_ray, formats), Mortal(tmp_path / "killed"))
    outcomes = list(map_on_ray(job, pictures, "local"))
    assert (tmp_path / "killed").exists() and files_of(by_ray) == files_of(alone)
    assert {outcome.picture for outcome in outcomes} == set(pictures) and len(outcomes) == 40
    errors = {str(outcome.error) for outcome in outcomes if outcome.error}
    assert errors == {str(outcome.error) for outcome in expected if outcome.error} and len(errors) == 1


def test_whoever_takes_the_outcomes_is_asked_whether_to_go_on(cluster, album, tmp_path):
    def enough() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError), interruptible(enough):
        list(map_on_ray(Job(Output(tmp_path / "out")), find_pictures(album), "local"))


@pytest.fixture
def pairs(album, tmp_path) -> DataSet:
    """The pictures of the album, each but the one that is none with a label map of four classes."""
    (album / "part 1" / "07.png").unlink()
    for path in sorted(album.rglob("*.png")):
        with Image.open(path) as picture:
            labels = np.arange(picture.width * picture.height).reshape(picture.size[::-1]) // 31 % 4
        Image.fromarray(labels.astype(np.uint8)).save(path.with_name(f"{path.name}.png"))
    return folder_data(album, album, "red, green, blue, yellow", side=None, templates="none")


def test_the_score_is_the_same_though_an_actor_is_killed_and_what_was_counted_stays_so(
    cluster, pairs, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_data, "PICTURES_A_BATCH", 4)
    model, kept = Mortal()(), tmp_path / "kept"
    expected = evaluate(model, pairs)
    scores = evaluate(model, pairs, ray="local", load=Mortal(tmp_path / "killed"))
    assert (tmp_path / "killed").exists() and json.dumps(scores.as_json()) == json.dumps(expected.as_json())
    damaged = pairs.items[-1].picture
    sound = damaged.read_bytes()
    damaged.write_bytes(b"no picture")
    with pytest.raises(ValueError, match=damaged.name):
        evaluate(model, pairs, partial=kept, ray="local", load=Mortal())
    damaged.write_bytes(sound)
    fused: list[int] = []
    monkeypatch.setattr(
        ProxyCLIP, "fuse", lambda *given, do=ProxyCLIP.fuse, **more: fused.append(1) or do(*given, **more)
    )
    assert evaluate(model, pairs, partial=kept).as_json() == expected.as_json() and 0 < len(fused) < len(pairs.items)


def test_the_command_scores_on_ray_as_in_one_process(cluster, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("red\ngreen\nblue\nyellow\n")
    folders = ("--pictures", "album", "--labels", "album", "--words", "words.txt", "--limit", "6")
    for file, more in (("alone.json", []), ("ray.json", ["--ray", "local"])):
        given = ["evaluate", "folder", *folders, "--clip", "Built-in", "--side", "as-is", "--templates", "none"]
        assert cli.main([*given, "--json", file, *more]) == 0
    assert Path("ray.json").read_bytes() == Path("alone.json").read_bytes()


def test_scenes_are_shared_out_on_ray_and_score_as_in_one_process(cluster, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [str(item.picture) for item in pairs.items[:5]]
    words = [["red", "green", "blue", "yellow"], ["sky", "sea", "sand", "hill"]]
    scenes = [{"file": file, "labels": f"{file}.png", "words": words[place % 2]} for place, file in enumerate(files)]
    Path("scenes.json").write_text(json.dumps(scenes))
    tables = []
    for file, more in (("alone.json", []), ("ray.json", ["--ray", "local"])):
        given = ["evaluate", "scenes", "--index", "scenes.json", "--clip", "Built-in", "--side", "as-is"]
        assert cli.main([*given, "--templates", "none", "--json", file, *more]) == 0
        tables.append(json.loads(Path(file).read_text()))
        for row in tables[-1]["rows"].values():
            assert row.pop("seconds") > 0
    assert tables[0] == tables[1] and tables[0]["scenes"] == 5


def test_a_remote_folder_is_read_by_ray_also_where_an_actor_has_all_cores(cluster, album, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_data, "MOST_ON_CPU", 2)
    out = tmp_path / "out"
    address = f"local://{album}"
    assert cli.main(["segment", address, *ARGUMENTS, "--out", str(out), "--ray", "local"]) == 1
    assert len(list(out.rglob("*.png"))) == 39 and (out / "part 0" / "00.png.proxyclip.png").is_file()


@pytest.mark.parametrize("other", ["s3://other/photos", "a.png"])
def test_a_remote_folder_is_segmented_alone(other, tmp_path, four_areas, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(four_areas).save("a.png")
    assert cli.main(["segment", "s3://bucket/photos", other, *ARGUMENTS, "--out", "out", "--ray", "local"]) == 1
    assert "names" in capsys.readouterr().err and not Path("out").exists()


def test_a_remote_folder_that_is_not_there_is_named(cluster, tmp_path, capsys):
    address = f"local://{tmp_path}/none"
    assert cli.main(["segment", address, *ARGUMENTS, "--out", str(tmp_path / "out"), "--ray", "local"]) == 1
    assert f"Ray cannot read {address}" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path, four_areas, capsys):
    Image.fromarray(four_areas).save(tmp_path / "a.png")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    assert cli.main(["segment", str(tmp_path / "a.png"), "red", "--out", str(tmp_path), "--ray", "local"]) == 1
    assert "pip install 'proxyclip[ray]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "resources, expected",
    [
        ({"CPU": 2.0}, {"num_cpus": 2, "actors": 1}),
        ({"CPU": 64.0}, {"num_cpus": 16, "actors": 4}),
        ({"CPU": 64.0, "GPU": 8.0}, {"num_gpus": 1, "actors": 8}),
    ],
)
def test_an_actor_has_a_gpu_or_its_share_of_the_cores(resources, expected, monkeypatch):
    monkeypatch.setattr(ray_data, "MOST_ON_CPU", 16)
    assert ray_data._share(resources) == expected


@pytest.mark.parametrize(
    "folder",
    ["s3://bucket/photos", "s3://bucket/photos/", "gs://somebody@bucket/photos", "s3://bucket/photos?region=eu"],
)
def test_names_are_those_below_the_folder(folder):
    assert ray_data._name("bucket/photos/sea/a.jpg", folder) == "sea/a.jpg"


@pytest.mark.parametrize(
    "below, said", [(Exception(), "no weights"), (ValueError("no file"), "no file"), (None, "no weights")]
)
def test_what_failed_in_an_actor_is_told(below, said):
    error = RuntimeError("The actor died:\nno weights")
    error.__cause__ = below
    assert ray_data._cause(error) == said
