"""The benchmark's own tables, with tiny networks: what is measured, compared and said."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.benchmarks import __main__ as command
from tests.benchmarks import beside, child, growth, meters, report, rows, runner, tasks, tricks
from tests.benchmarks.jobs import Job, Result
from tests.benchmarks.runner import MeasurementError, Runner, alternate

# Rows that are slow with tiny networks, too; of those that ask a page, two others are run.
SLOW = ("page", "ray", "import", "classes", "pixels-many", "pixels-large", "picture-shown", "words-shown")


@pytest.fixture
def tiny_runner(tiny_model, tmp_path, capsys):
    """The benchmark with tiny networks, in this process."""

    def measure(job: Job) -> Result:
        return Result(speeds={"float32": 1e9}) if job.task == "speeds" else child.measure(job, tiny_model)

    return Runner(Job("weights", size_hw=(112, 168), side=None, repeats=1), tmp_path, measure)


def test_every_row_of_the_benchmark(tiny_runner, monkeypatch):
    monkeypatch.setattr(tasks, "TEMPLATES", "simple7")
    monkeypatch.setattr(rows, "MANY", 40)
    monkeypatch.setattr(tasks, "SCENES", tasks.SCENES[:2])
    known = rows.rows_for("cpu", "float32")
    known = {name: row for name, row in known.items() if name not in SLOW}
    lines = {name: rows.measure_row(row, name, tiny_runner) for name, row in known.items()}
    lines["classes"] = rows.many_classes(tiny_runner, size_hw=(150, 200))
    assert lines["evaluate"].seconds > 0 and "pictures/s" in lines["evaluate"].note
    assert all(lines[name].seconds > 0 for name in ("quick", "quick-again", "pixels", "patches", "patches-again"))
    assert "above 'none'" in lines["patches"].note
    assert all(lines[f"{what}-shown"].seconds > 0 for what in ("both", "beta"))
    for name in ("text", "exact-float32", "whole", "words", "settings", "click", "classes"):
        assert lines[name].seconds > 0, lines[name].note
        assert lines[name].times_floor > 0
    assert ("logits <= 1e-05", True) in lines["exact-float32"].goals
    assert "labels 100.00% equal" in lines["exact-float32"].note
    assert lines["memory"].plain_peak_bytes > 0
    assert lines["folder"].ratio > 0 and "pictures/s" in lines["folder"].note
    table = report.rows_table(list(lines.values()))
    assert all(line.title in table for line in lines.values())
    kept = json.loads(json.dumps(report.as_json("cpu", {}, {}, list(lines.values()), [])))
    assert kept["rows"][0]["ratio"] == lines["text"].ratio


def test_a_clusters_start_is_told_apart_from_its_speed(tmp_path, capsys):
    def measure(job: Job) -> Result:
        pictures = job.times * len(rows.SCENES)
        return Result(pictures / 5 if job.task == "our_folder" else 8 + pictures / 10)

    line = rows.on_ray(Runner(Job("weights"), tmp_path, measure))
    assert line.seconds == 28 and line.plain_seconds == 40
    assert line.note == "10.0 pictures/s once it works, after 8 s, and 5.0 in one process"


def test_a_job_is_measured_once(tmp_path, capsys):
    seen = []
    run = Runner(Job("weights"), tmp_path, lambda job: (seen.append(job.task), Result(1.0))[1])
    run("our_click"), run("our_click"), run("our_click", precision="bfloat16")
    assert seen == ["our_click", "our_click"]


def test_a_row_says_that_its_process_failed(tmp_path, capsys):
    def fail(job: Job) -> Result:
        raise MeasurementError("our_click: out of memory")

    line = rows.measure_row(rows.click, "click", Runner(Job("weights"), tmp_path, fail))
    assert not line.met
    assert line.note == "our_click: out of memory"


def test_goals_are_judged_by_ratio():
    line = rows.Line("a row", seconds=2.0, plain_seconds=10.0, goals=[("4x", True), ("labels >= 99%", False)])
    assert line.ratio == 5
    assert not line.met
    assert "4x: yes, labels >= 99%: NO" in report.rows_table([line])
    assert report.rows_table([line]).endswith("Short of its goal: a row.")


def test_least_time_follows_from_each_precisions_speed(tmp_path, capsys):
    run = Runner(Job("weights"), tmp_path, lambda job: Result(speeds={"float32": 10.0, "bfloat16": 40.0}))
    assert run.floor_seconds(Result(flops={"float32": 20.0, "bfloat16": 40.0})) == 3
    assert run.floor_seconds(Result()) is None


def test_flops_are_counted_by_precision():
    def products():
        torch.ones(2, 3) @ torch.ones(3, 4)
        torch.ones(2, 3, dtype=torch.bfloat16) @ torch.ones(3, 5, dtype=torch.bfloat16)
        heads = torch.ones(1, 2, 7, 4)
        torch.nn.functional.scaled_dot_product_attention(heads, heads, heads)

    assert meters.count_flops(products) == {"float32": 2 * 2 * 3 * 4 + 2 * 2 * 2 * 7 * 7 * 4, "bfloat16": 2 * 2 * 3 * 5}


@pytest.mark.parametrize(("repeats", "at_least", "runs"), [(0, 9, 0), (3, 0, 3), (3, 9, 5), (1, 999, meters.MOST_RUNS)])
def test_short_tasks_are_timed_more_often(monkeypatch, repeats, at_least, runs):
    seconds = iter([(1.0, 1.5), *[(2.0, 3.0)] * 40])  # the first, which is not timed, is the fastest here
    monkeypatch.setattr(meters, "_seconds", lambda call, device: next(seconds))
    assert meters.best_seconds(None, repeats, None, at_least) == ((2.0, 3.0) if runs else (1.0, 1.5))
    assert len(list(seconds)) == 40 - runs


def test_exponent_of_a_power_law():
    exponent, factor = growth.fit([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)])
    assert (exponent, factor) == pytest.approx((1.5, 3))


def test_growth_of_the_benchmark(tiny_runner, tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "WINDOW", 112)
    curves = growth.measure_growth(tiny_runner, (56, 112), (2, 5), (1, 2), large_hw=(100, 120))
    assert [len(curve.seconds) for curve in curves] == [2, 2, 2]
    assert "windows of 336 pixels" in report.growth_table(curves)
    pytest.importorskip("matplotlib")
    growth.plot(curves, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "speed", "--device", "cpu"], "No row is called speed. Known here: text, exact-auto, exact-float32"),
        (["--clip", "no such"], "No CLIP is called 'no such'. Known:"),
    ],
)
def test_the_command_names_what_it_does_not_know(capsys, arguments, said):
    assert command.main(arguments) == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--repeats", "0"], "got '0'; expected a whole number from 1 on, such as 3"),
        (["--repeats", "many"], "got 'many'; expected a whole number from 1 on"),
        (["--beside", "."], "is no checkout of this project"),
    ],
)
def test_the_command_says_what_it_expects(capsys, monkeypatch, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert said in capsys.readouterr().err


def test_calls_take_turns():
    seen = []
    found = alternate({name: lambda name=name: seen.append(name) or len(seen) for name in "ab"}, rounds=3)
    assert seen == list("ababab")
    assert found == {"a": [1, 3, 5], "b": [2, 4, 6]}


@pytest.mark.parametrize("row", [row for row in rows.rows_for("cpu", "auto") if row not in ("page", "import", "ray")])
def test_every_row_is_compared_with_another_checkouts(monkeypatch, row):
    """Ours of the row, and the best of some rounds in each of the two."""
    seconds = iter([3.0, 5.0, 2.0, 4.0])  # here, there, here, there
    asked = []

    def measure(job: Job, root: Path) -> Result:
        asked.append((root, job))
        now = next(seconds)
        return Result(seconds=now, peak_bytes=int(now * 1e9))

    monkeypatch.setattr(beside, "run_in_child", measure)
    pair = beside.measure_pair(row, Job("weights", precision="auto"), Path("there"), rounds=2)
    assert [root for root, _ in asked] == [runner.ROOT, Path("there")] * 2
    assert all(job.task in tasks.TASKS and job.task.startswith("our") for _, job in asked)
    assert pair.ratio == 0.5
    assert report.pairs_table([pair]).endswith("No row is above by more than a tenth.")
    assert report.pairs_table([replace(pair, here=6e9)]).endswith(f"By more than a tenth above: {row}.")


def test_an_older_checkout_gets_only_what_differs(monkeypatch, tmp_path):
    given = []

    def run(command, **options):
        given.append((json.loads(command[-1]), options["cwd"]))
        return runner.subprocess.CompletedProcess(command, 0, stdout='{"seconds": 1.0}', stderr="")

    monkeypatch.setattr(runner.subprocess, "run", run)
    assert runner.run_in_child(Job("our_click", side=448), tmp_path).seconds == 1.0
    assert given == [({"task": "our_click", "side": 448}, tmp_path)]


def test_each_trick_is_turned_off_alone():
    def measure(job: Job) -> Result:
        return Result(seconds=9.0, cpu_seconds=2.0 + 0.5 * (job.without == "attention in chunks"))

    table = report.tricks_table(tricks.measure_tricks(Job("weights"), 2, measure))
    lines = {line.split("|")[1].strip(): line for line in table.splitlines()}
    assert lines.keys() >= {"nothing", *tricks.TRICKS}
    assert "+25.0%" in lines["attention in chunks"] and "+0.0%" in lines["kept memory"]


@pytest.mark.parametrize("without", ["", *tricks.TRICKS])
def test_a_trick_that_is_turned_off_is_off(monkeypatch, without):
    everything = tricks.kernels.Kernels(*[frozenset({torch.float32})] * 3)
    kept = []
    monkeypatch.setattr(tricks.kernels, "current", lambda: everything)
    monkeypatch.setattr(tricks, "keep_freed_memory", lambda: kept.append("memory"))
    tricks.prepare(without)
    on = {name for name, dtypes in vars(tricks.kernels.current()).items() if dtypes} | set(kept)
    assert on == {"packing", "linear", "attention", "memory"} - tricks.TRICKS.get(without, set())


@pytest.mark.parametrize(
    ("asked", "title"),
    [
        (["--rows", "click"], "a click (attention of one seed)"),
        (["--beside", str(runner.ROOT), "--rows", "click"], "here / there"),
        (["--tricks"], "attention in chunks"),
    ],
)
def test_the_command_prints_its_table_and_writes_its_numbers(monkeypatch, capsys, tmp_path, asked, title):
    def measure(job: Job, root: Path = runner.ROOT, environment: dict[str, str] | None = None) -> Result:
        return Result(seconds=1.0, cpu_seconds=2.0, speeds={"float32": 1e9})

    for module in (command, beside):
        monkeypatch.setattr(module, "run_in_child", measure)
    assert command.main([*asked, "--device", "cpu", "--rounds", "1", "--json", str(tmp_path / "numbers.json")]) == 0
    assert title in capsys.readouterr().out
    assert json.loads((tmp_path / "numbers.json").read_text())


def test_a_process_that_fails_is_said(monkeypatch, capsys):
    def fail(job: Job) -> Result:
        raise MeasurementError("weights: no space left")

    monkeypatch.setattr(command, "run_in_child", fail)
    assert command.main(["--device", "cpu"]) == 1
    assert "error: weights: no space left" in capsys.readouterr().err
