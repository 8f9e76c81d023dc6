"""Files that version 0 wrote are read, and its runs go on: `tests/fixtures/version_0/README.md` says what they are."""

from __future__ import annotations

import json
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch

from critbatch import Target, find_task, load_model
from critbatch.advisor.advise import AdviceCampaign
from critbatch.advisor.config import AdviseConfig, RunContext
from critbatch.recipes import plan_of
from critbatch.records import Advice, Outcome, Quantity, Run, Speed
from critbatch.records.io import load_records
from critbatch.reports.write import report as write_report
from critbatch.studies.run_key import RunKey, StudyKey
from critbatch.studies.sweep import sweep
from critbatch.training.evaluation import Evaluation
from critbatch.training.state import Budget
from critbatch.training.trainer import Training

FIXTURES = Path(__file__).parents[1] / "fixtures" / "version_0"
CPU = torch.device("cpu")
EVALUATION = Evaluation(growth=2.0)
QUESTION: dict[str, Any] = {
    "batch_sizes": (8, 32),
    "learning_rates": (0.05, 0.2, 1e6),
    "seeds": (0, 1),
    "epochs": 6.0,
    "stop_at_target": False,
    "prune": True,
    "fixed_options": {"momentum": 0.5},
    "evaluation": EVALUATION,
    "device": CPU,
    "compile": False,
}
PLANS: dict[str, dict[str, Any]] = {
    "sgd": {"momentum": 0.9},
    "lars2017": {"warmup_epochs": 1.0, "trust_coefficient": 0.1},
    "swap2020": {"copies": 2, "small_batch_size": 8, "until_train_metric": None},
    "post-local-sgd": {"copies": 2, "local_steps": 5},
}
# Words of version 0 as they are called today.
RENAMED = {'"soonest"': '"time"', '"cheapest"': '"cost"'}
# Steps at which the checkpoints were written.
HALF_WAY = {"sgd": 60, "lars2017": 60, "swap2020": 125, "post-local-sgd": 100}


def unpack(name: str, folder: Path) -> Path:
    with zipfile.ZipFile(FIXTURES / f"{name}.zip") as archive:
        archive.extractall(folder / name)
    return folder / name


def curve_in(checkpoint: Path) -> list[dict[str, Any]]:
    """The evaluations that a checkpoint holds, read without critbatch."""
    state = torch.load(checkpoint, weights_only=True)
    return [json.loads(point) for point in state["ledger"]["curve"]]


def moments(points: list[Any]) -> list[tuple[int, float]]:
    """Steps and the seconds measured there, which no run that is made again would have."""
    return [
        (point["step"], point["seconds"]) if isinstance(point, dict) else (point.step, point.seconds)
        for point in points
    ]


def leaves(value: Any) -> list[str]:
    """All numbers and words of a JSON text, whatever they are called."""
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    if isinstance(value, list):
        return [leaf for part in value for leaf in leaves(part)]
    return [json.dumps(value)]


@pytest.mark.parametrize("place", ["sweep", "journal"])
def test_a_sweep_keeps_its_runs_and_goes_on_with_those_that_were_broken_off(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("critbatch.studies.liveness.SECONDS_UNTIL_DEAD", 0.1)
    folder = unpack(place, tmp_path)
    finished = [Run.from_json(json.dumps(run)) for run in json.loads((folder / "finished.json").read_text())]
    half_way = [moments(curve_in(path)) for path in (folder / "checkpoints").glob("*.pt")]
    url = f"journal://{folder / 'runs.log'}" if place == "journal" else None
    with pytest.warns(UserWarning, match="Journal files are no longer written") if url else nullcontext():
        study = sweep("digits-narrow", out=folder, storage=url, **QUESTION)
    assert len(finished) == 10 and len(study.runs) == 12 and study.runs_left == 0
    assert {run.outcome for run in finished} == {Outcome.FINISHED, Outcome.DIVERGED, Outcome.OUT_OF_MEMORY}
    assert sum(run.pruned for run in finished) == 3
    assert all(run in study.runs for run in finished)
    resumed = [run for run in study.runs if run not in finished]
    begins = [moments(list(run.curve)) for run in resumed]
    assert len(half_way) == len(begins) == 2
    assert all(any(begin[: len(half)] == half for begin in begins) for half in half_way)


def test_runs_with_an_option_that_has_another_name_today_are_found_by_their_old_keys() -> None:
    """The texts and the digests are those that version 0.1.0 wrote."""
    text = '[8, 0.1, 3, "sweep", [["decay", "stairs"], ["momentum", 0.9], ["warm_up_epochs", 1.5]]]'
    options = (("lr_decay", "step"), ("momentum", 0.9), ("warmup_epochs", 1.5))
    key = RunKey(batch_size=8, learning_rate=0.1, seed=3, options=options)
    assert RunKey.from_json(text) == key and key.digest == "3cbd4583d579"
    settings = {"lr_decay": "step", "warmup_epochs": 2.0, "growth": 1.5, "at": (0.5, 0.8)}
    terms = StudyKey(task="t", fingerprint="f", recipe="sgd", target=None, epochs=3.0, settings=settings)
    old = terms.to_json().replace("lr_decay", "decay").replace("step", "stairs").replace("warmup_", "warm_up_")
    assert StudyKey.from_json(old) == terms and terms.digest == "8e0b99774eb1"


def test_an_advice_uses_the_runs_of_an_easier_target_and_goes_on_with_them(tmp_path: Path) -> None:
    folder = unpack("advice", tmp_path)
    kept_states = {path.name for path in (folder / "ends").iterdir()}
    before = Advice.from_json((folder / "advice.json").read_bytes())
    speed = Speed.from_json((folder / "speed.json").read_bytes())
    target = Target(quantity=Quantity.VALIDATION_METRIC, value=0.71)
    task = find_task("digits-narrow")
    config = AdviseConfig(task=task, recipe=task.recipe, target=target, checks=())
    advice = AdviceCampaign(config=config, context=RunContext(folder=folder, device=CPU), speed=speed).run()
    assert not (folder / "ends").exists() and kept_states <= {path.name for path in (folder / "resume").iterdir()}
    known = {(run.batch_size, run.learning_rate, run.seed): run for run in before.runs}
    again = {(run.batch_size, run.learning_rate, run.seed): run for run in advice.runs}
    assert known.keys() <= again.keys()
    for key, run in known.items():
        assert moments(list(again[key].curve))[: len(run.curve)] == moments(list(run.curve))
    reached = [key for key, run in known.items() if run.outcome is Outcome.REACHED]
    assert reached and all(again[key].steps > known[key].steps for key in reached)


@pytest.mark.parametrize("recipe", PLANS)
def test_a_run_goes_on_from_its_checkpoint_and_ends_where_the_unbroken_one_ended(tmp_path: Path, recipe: str) -> None:
    folder = unpack("checkpoints", tmp_path)
    checkpoint, whole = folder / f"{recipe}.pt", Run.from_json((folder / f"{recipe}.json").read_bytes())
    half_way = moments(curve_in(checkpoint))
    training = Training(
        find_task("digits-narrow"),
        plan_of(recipe, batch_size=16, learning_rate=0.1, epochs=8.0, **PLANS[recipe]),
        seed=3,
        device=CPU,
        evaluation=EVALUATION,
        compile=False,
        checkpoint=checkpoint,
    )
    assert training.record().steps == HALF_WAY[recipe]
    assert training.advance(Budget()) is Outcome.FINISHED
    run = training.record()
    assert moments(list(run.curve))[: len(half_way)] == half_way
    # It was also evaluated where it was broken off, which moves the evaluations after that.
    losses = {point.step: point.validation_loss for point in run.curve}
    unbroken = {point.step: point.validation_loss for point in whole.curve}
    shared = sorted(losses.keys() & unbroken.keys())
    assert len(shared) > len(half_way) - 1 and shared[-1] == whole.steps == run.steps
    # The sums of another processor differ in the last bits.
    assert [losses[step] for step in shared] == pytest.approx([unbroken[step] for step in shared], rel=1e-3)


def test_the_weights_of_a_run_give_the_loss_that_its_record_says(tmp_path: Path) -> None:
    folder = unpack("checkpoints", tmp_path)
    task = find_task("digits-narrow")
    run = Run.from_json((folder / "run-sgd-b16-lr0.1-seed0.json").read_bytes())
    model = load_model(folder / "run-sgd-b16-lr0.1-seed0.weights.pt", task)
    inputs, labels = task.validation.take(torch.arange(360))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(task.prepare(inputs)), labels).item()
    assert loss == pytest.approx(run.curve[-1].validation_loss, rel=1e-5)


def test_every_record_is_read_with_all_that_it_holds(tmp_path: Path) -> None:
    folder = unpack("records", tmp_path)
    files = sorted(folder.glob("*.json"))
    assert len(files) == 16
    for path in files:
        (record,) = load_records(path)
        left = leaves(json.loads(record.to_json()))
        for leaf in leaves(json.loads(path.read_text())):
            left.remove(RENAMED.get(leaf, leaf))
    assert len(load_records(folder)) == len(files)
    assert write_report(folder, tmp_path / "report.html").is_file()


def test_options_in_old_records_have_their_names_of_today(tmp_path: Path) -> None:
    folder = unpack("advice", tmp_path)
    record = json.loads((folder / "advice.json").read_text())
    record["options"] = {"decay": "stairs", "warm_up_epochs": 2.0, "momentum": 0.9}
    record["runs"][0]["options"] = {"decay": "cosine"}
    advice = Advice.from_json(json.dumps(record))
    assert advice.options == {"lr_decay": "step", "warmup_epochs": 2.0, "momentum": 0.9}
    assert advice.runs[0].options == {"lr_decay": "cosine"}
