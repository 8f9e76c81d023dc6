"""`critbatch fit`: tables of runs made elsewhere, published ones and wrong ones."""

from __future__ import annotations

import cProfile
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import critbatch
from critbatch.cli.main import main
from critbatch.errors import UserError
from critbatch.law.csv_points import in_one_unit, read_points
from critbatch.records.io import load_records
from critbatch.records.study import Fit, GoalPoint, Regime
from critbatch.reports.views.chapters import summary

TABLES = Path(__file__).parents[2] / "fixtures" / "points"
MIN_STEPS, CRITICAL = 300.0, 200.0
SIZES = (16, 32, 64, 128, 256, 512, 1024)


def on_the_law(size: int) -> float:
    return MIN_STEPS * (1 + CRITICAL / size)


def written(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def table(header: str = "batch_size,steps", line: str = "{size},{steps}") -> str:
    rows = [line.format(size=size, steps=on_the_law(size)) for size in SIZES]
    return "\n".join([header, *rows]) + "\n"


def command(*words: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["critbatch", *words])
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


# --- published tables ------------------------------------------------------------------------------------------------


def test_resnet_50_of_mlperf_lies_within_a_few_per_cent_of_the_law_which_does_not_show_that_it_holds():
    found = critbatch.fit(TABLES / "mlperf-resnet-50.csv", at=[16384])
    law = found.analysis.trade_off
    assert law is not None and law.min_epochs is not None and law.n == 130 and law.sizes == 10
    assert not found.law_holds and law.undecided and found.reason == "little_power" and law.test == "lack_of_fit"
    critical, exact = law.critical_batch_size, law.critical_if_exact
    assert critical.low is not None and critical.high is not None
    assert exact is not None and exact.low is not None and exact.high is not None
    assert 20_000 < critical.low < 40_000 < exact.low < 47_500 < exact.high < 55_000 < critical.high < 130_000
    assert law.min_epochs.value == pytest.approx(34.7, abs=0.1)
    assert law.exponent is not None and law.exponent.low is not None and law.exponent.high is not None
    assert 0.8 < law.exponent.low < 1 < law.exponent.high < 1.25
    assert found.predictions[0].steps is None and found.predictions[0].epochs == pytest.approx(47, abs=0.5)
    assert found.predictions[0].low < 46.8 < found.predictions[0].high
    assert found.analysis.perfect_until == 8192 and found.analysis.useful_until is None


def test_rnn_t_of_mlperf_has_diminishing_returns_throughout():
    found = critbatch.fit(TABLES / "mlperf-rnn-t.csv")
    law = found.analysis.trade_off
    assert law is not None and law.undecided
    assert law.critical_batch_size.value == pytest.approx(3690, abs=20)
    assert [size.regime for size in found.analysis.sizes[1:]] == [Regime.DIMINISHING_RETURNS] * 5


def test_bert_of_mlperf_needs_fewer_examples_at_448_than_at_256_which_the_law_forbids():
    found = critbatch.fit(TABLES / "mlperf-bert.csv")
    assert not found.law_holds and found.reason == "examples_fall"
    law = found.analysis.trade_off
    assert law is not None and law.p_value is not None and law.p_value < 1e-10


@pytest.mark.parametrize("name", ["lamb-table-1", "goyal-figure-1"])
def test_a_table_of_one_budget_tells_no_critical_batch_size(name: str):
    found = critbatch.fit(TABLES / f"{name}.csv")
    assert not found.law_holds and found.reason == "constant_budget"
    assert found.analysis.trade_off is not None
    critical = found.analysis.trade_off.critical_batch_size
    assert critical.low is None and critical.high is None and critical.reason == "constant_budget"
    assert all(size.regime is None for size in found.analysis.sizes)
    assert critbatch.fit(TABLES / f"{name}.csv", at=[4096]).predictions == ()


def test_googlenet_of_lars_has_a_critical_batch_size_of_some_thousands_if_the_law_is_exact():
    law = critbatch.fit(TABLES / "lars-googlenet.csv").analysis.trade_off
    assert law is not None and law.critical_batch_size.low is not None and law.critical_batch_size.high is not None
    exact = law.critical_if_exact
    assert exact is not None and exact.low is not None and exact.high is not None
    assert 1_000 < exact.low < 4_200 < exact.high < 10_000
    # Six points tell little where the exponent is not known.
    assert law.critical_batch_size.low < 1_000 and law.critical_batch_size.high > 100_000 and law.undecided


@pytest.mark.parametrize("name", ["lars-alexnet", "lars-resnet-50"])
def test_lars_with_one_size_at_another_number_of_epochs_gives_a_lower_bound_alone(name: str):
    found = critbatch.fit(TABLES / f"{name}.csv")
    law = found.analysis.trade_off
    assert law is not None and law.critical_batch_size.high is None and (law.critical_batch_size.low or 0) > 500
    assert law.critical_if_exact is not None and (law.critical_if_exact.low or 0) > 2_000
    assert found.reason == "too_few_points" and "censored_sizes" in found.analysis.cautions
    assert found.analysis.sizes[-1].steps is None


# --- what tables say that are no published ones ----------------------------------------------------------------------


def test_results_rounded_to_the_interval_of_evaluation_are_told(tmp_path: Path):
    lines = [f"{size},{50 * math.ceil(on_the_law(size) / 50)},{seed}" for size in SIZES for seed in range(3)]
    found = critbatch.fit(written(tmp_path, "\n".join(["batch_size,steps,seed", *lines])))
    law = found.analysis.trade_off
    assert law is not None and law.rounded and "rounded_repeats" in found.analysis.cautions
    assert law.critical_batch_size.low is not None and law.critical_batch_size.high is not None
    assert law.critical_batch_size.low < CRITICAL < law.critical_batch_size.high < 1000
    assert law.p_value is not None and law.p_value > 0.05


@pytest.mark.parametrize("kind", ["few sizes", "many rates", "many sizes"])
def test_the_work_grows_with_the_rows_and_not_with_their_square(kind: str):
    """Counted in calls of functions, which no busy machine changes."""

    def calls(rows: int) -> int:
        points = [
            GoalPoint(
                batch_size=8 + i if kind == "many sizes" else 8 * 2 ** (i % 8),
                steps=1000.0 + (i * 7919) % 500,
                learning_rate=0.1 * (1 + i if kind == "many rates" else 1),
            )
            for i in range(rows)
        ]
        profile = cProfile.Profile()
        found = profile.runcall(critbatch.fit, points)
        summary(found)
        return sum(entry.callcount for entry in profile.getstats())

    first, small, large = calls(500), calls(4000), calls(8000)
    assert large - first < 2.5 * (small - first) + 100_000


def test_membership_in_long_lists_is_not_looked_up(tmp_path: Path):
    """Comparisons inside of lists are no calls: they are counted by the points themselves."""
    compared = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    rows = 2000
    points = {Counted(f"line {i}"): GoalPoint(batch_size=8 + i % 9, steps=10.0 + i) for i in range(rows)}
    in_one_unit(points)
    assert compared < 10 * rows


# --- the file --------------------------------------------------------------------------------------------------------


def test_points_on_the_law_give_it_back_with_predictions(tmp_path: Path):
    found = critbatch.fit(written(tmp_path, table()), at=[2048, 8192], examples=10_000)
    assert found.law_holds and found.examples == 10_000 and found.name == "points.csv"
    for one in found.predictions:
        assert one.steps == pytest.approx(on_the_law(one.batch_size), rel=1e-6)
        assert one.epochs == pytest.approx(on_the_law(one.batch_size) * one.batch_size / 10_000, rel=1e-6)
        assert one.low <= (one.steps or 0) <= one.high and one.level == 0.8


@pytest.mark.parametrize(
    ("header", "line"),
    [
        ("\ufeffbatch_size,steps", "{size},{steps}"),
        ("# made by hand\n\n Batch Size , Steps_to_Target ", " {size} , {steps} "),
        ("bs;iterations;lr", "{size};{steps};0.1"),
        ("steps\tnote\tBS", '{steps}\t"a, b"\t{size}.0'),
        ("batch-size,updates,seed,censored,gpus,seconds_per_step", "{size},{steps},0,no,8,0.01"),
        ("batch_size,steps,reached", "{size},{steps},YES"),
    ],
)
def test_what_tables_look_like_is_read(header: str, line: str, tmp_path: Path):
    points = read_points(written(tmp_path, table(header, line)))
    assert [point.batch_size for point in points.values()] == list(SIZES)
    assert [point.steps for point in points.values()] == pytest.approx([on_the_law(size) for size in SIZES])


def test_windows_line_ends_and_old_mac_ones_are_line_ends(tmp_path: Path):
    for end in ("\r\n", "\r"):
        (tmp_path / "points.csv").write_bytes(table().replace("\n", end).encode())
        assert len(read_points(tmp_path / "points.csv")) == len(SIZES)


def test_the_size_of_the_data_set_follows_from_rows_with_two_units(tmp_path: Path):
    text = "batch_size,steps,epochs\n10,1000,2\n20,600,\n40,,1.6\n"
    found = critbatch.fit(written(tmp_path, text))
    assert found.examples == 5000
    assert [point.steps for point in found.points] == [1000, 600, 200]
    assert [point.epochs for point in found.points] == pytest.approx([2, 2.4, 1.6])


def test_runs_that_missed_the_target_are_bounds(tmp_path: Path):
    text = table("batch_size,steps,censored", "{size},{steps},no") + "2048,50,yes\n4096,50,1\n"
    found = critbatch.fit(written(tmp_path, text))
    assert [point.censored for point in found.points] == [False] * len(SIZES) + [True] * 2
    assert found.analysis.sizes[-1].bound == 50 and "censored_sizes" in found.analysis.cautions


WRONG = {
    "": "is empty",
    "# nothing\n\n": "is empty",
    "batch_size,steps\n": "has no rows",
    "a,b\n1,2\n": "no column batch_size among a, b",
    "batch_size,accuracy\n1,2\n": "no column steps, epochs or examples among batch_size, accuracy",
    "batch_size,bs,steps\n1,2,3\n": "'batch_size' and 'bs' are both the batch_size",
    "batch_size,steps\n8,100\n-16,50\n": "Line 3, column batch_size: -16",
    "batch_size,steps\n8,100\n0,50\n": "Line 3, column batch_size: 0",
    "batch_size,steps\n8.5,100\n16,50\n": "Line 2, column batch_size: 8.5",
    "batch_size,steps\n8,-100\n16,50\n": "Line 2, column steps: -100",
    "batch_size,steps\n8,0\n16,50\n": "Line 2, column steps: 0",
    "batch_size,steps\n8,nan\n16,50\n": "Line 2, column steps: 'nan'",
    "batch_size,steps\n8,inf\n16,50\n": "Line 2, column steps: 'inf'",
    "batch_size,steps\n8,1e400\n16,50\n": "Line 2, column steps: '1e400'",
    "batch_size,steps\n8,many\n16,50\n": "Line 2, column steps: 'many' is no number",
    "batch_size,steps\n8,5e-324\n16,50\n": "Line 2, column steps: '5e-324'",
    f"batch_size,steps\n8,{'9' * 300}\n16,50\n": "Line 2, column steps: '9999",
    f"batch_size,steps\n8,1{'0' * 400}\n16,50\n": "Line 2, column steps: '1000",
    f"batch_size,steps\n{'1' * 5000},7\n16,50\n": "Line 2, column batch_size: '1111",
    "batch_size,steps\n8,-inf\n16,50\n": "Line 2, column steps: '-inf'",
    "batch_size,steps,lr\n8,1,1e-320\n16,50,1\n": "Line 2, column learning_rate: '1e-320'",
    "batch_size,epochs\n8,1e-308\n16,50\n": "Line 2, column epochs: '1e-308'",
    "batch_size,steps\n8k,100\n16,50\n": "Line 2, column batch_size: '8k' is no number",
    'batch_size,steps\n"8,192",100\n16,50\n': "Line 2, column batch_size: '8,192' is no number",
    "batch_size,steps\n8,1_000\n16,50\n": "Line 2, column steps: '1_000' is no number",
    "batch_size,steps\n,100\n16,50\n": "Line 2, column batch_size is empty",
    "batch_size,steps\n8,\n16,50\n": "Line 2 has no steps, epochs or examples",
    "batch_size,steps\n8,100,7\n16,50\n": "Line 2 has 3 cells, but there are 2 columns",
    'batch_size,steps\n8,"100\n16,50\n': "Line 2 is no row of a CSV file",
    "batch_size,steps,censored\n8,100,perhaps\n16,50,no\n": "Line 2, column censored: 'perhaps' is neither yes nor no",
    "batch_size,steps,censored,reached\n8,100,yes,yes\n16,50,no,yes\n": "Line 2 is both censored and reached",
    "batch_size,steps,lr\n8,100,-1\n16,50,1\n": "Line 2, column learning_rate: -1",
    "batch_size,steps,gpus\n8,100,0\n16,50,1\n": "Line 2, column devices: 0",
    "batch_size,steps,seed\n8,100,1.5\n16,50,1\n": "Line 2, column seed: 1.5",
    "batch_size,steps\n8,100\n8,101\n": "All points are at batch size 8",
    "batch_size,steps,epochs\n8,100,\n16,,2\n32,30,\n": "line 2 is in steps or examples, line 3 in epochs alone",
    "batch_size,steps,epochs\n8,1000,2\n16,600,2.4\n32,400,1.5\n": "line 4: its steps and epochs make a training set",
    "batch_size,steps,examples\n8,1000,8000\n16,600,600\n": "line 3: steps times batch size are 9600 examples",
}


@pytest.mark.parametrize(("text", "says"), WRONG.items(), ids=[f"{i}" for i in range(len(WRONG))])
def test_a_wrong_table_is_one_sentence_that_says_where(
    text: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    path = written(tmp_path, text)
    assert command("fit", str(path), "--out", str(tmp_path / "out"), monkeypatch=monkeypatch) == 2
    told = capsys.readouterr()
    assert says in told.err and told.out == "" and "Traceback" not in told.err and told.err.count("\n") == 1


def test_a_file_that_is_none_or_no_text_is_one_sentence(tmp_path: Path):
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    (tmp_path / "zeros.csv").write_bytes(b"batch_size,steps\n\0,1\n")
    for name, says in (
        ("image.csv", "not a text"),
        ("zeros.csv", "not a text"),
        ("none.csv", "cannot be read"),
        (".", "cannot"),
    ):
        with pytest.raises(UserError, match=says):
            read_points(tmp_path / name)


def test_sizes_and_examples_that_are_not_possible_are_refused(tmp_path: Path):
    path = written(tmp_path, table())
    with pytest.raises(UserError, match="batch size of 0"):
        critbatch.fit(path, at=[0])
    for at in (1.5, math.nan, "8"):
        with pytest.raises(UserError, match="whole number"):
            critbatch.fit(path, at=[at])
    for examples in (1.5, math.inf):
        with pytest.raises(UserError, match="whole number"):
            critbatch.fit(path, examples=examples)
    for large in (10**400, 10**16):
        with pytest.raises(UserError, match=r"at=.* is not possible: use 1000000000000 at most"):
            critbatch.fit(path, at=[large])
        with pytest.raises(UserError, match=r"examples=.* is not possible: use 1000000000000"):
            critbatch.fit(path, examples=large)
    for name in ("points\0.csv", "a" * 5000):
        with pytest.raises(UserError, match="cannot be"):
            critbatch.fit(name)
    with pytest.raises(UserError, match="training set of 0"):
        critbatch.fit(path, examples=0)
    with pytest.raises(UserError, match="--examples says 7"):
        critbatch.fit(written(tmp_path, "batch_size,steps,epochs\n8,1000,2\n16,600,2.4\n"), examples=7)


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([], "no points"),
        ([GoalPoint(batch_size=8, steps=1.0), GoalPoint(batch_size=0, steps=1.0)], "point 2: batch_size=0"),
        ([GoalPoint(batch_size=8, steps=math.nan)], "point 1: steps=nan"),
        ([GoalPoint(batch_size=8)], "point 1 has no steps"),
        ([GoalPoint(batch_size=8, steps=1.0, devices=0)], "point 1: devices=0"),
        ([GoalPoint(batch_size=8, steps=5e-324)], "point 1: steps=5e-324"),
        ([GoalPoint(batch_size=8, steps=1e300)], "point 1: steps=1e[+]300"),
        ([GoalPoint(batch_size=8, steps=10**400)], "point 1: steps=10{39}[.]{3}"),
        ([GoalPoint(batch_size=10**400, steps=1.0)], "point 1: batch_size=10{39}[.]{3}"),
        ([GoalPoint(batch_size=8, steps=-math.inf)], "point 1: steps=-inf"),
        ([GoalPoint(batch_size=math.nan, steps=1.0)], "point 1: batch_size=nan"),
        ([GoalPoint(batch_size=8.5, steps=1.0)], "point 1: batch_size=8.5"),
        ([GoalPoint(batch_size="8", steps=1.0)], "point 1: batch_size='8'"),
        ([GoalPoint(batch_size=8, steps="many")], "point 1: steps='many'"),
        ([GoalPoint(batch_size=8, examples=True)], "point 1: examples=True"),
        ([GoalPoint(batch_size=8, steps=1.0, devices=2.5)], "point 1: devices=2.5"),
        ([{"batch_size": 8}], "each part a GoalPoint"),
    ],
)
def test_points_in_python_are_checked_as_those_of_files(points: list[GoalPoint], says: str):
    with pytest.raises(UserError, match=says) as error:
        critbatch.fit(points)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200


def test_points_of_two_sizes_are_told_and_not_fitted():
    found = critbatch.fit([GoalPoint(batch_size=8, steps=100.0), GoalPoint(batch_size=16, steps=60.0)], at=[32])
    assert not found.law_holds and found.reason == "few_sizes" and found.predictions == ()


CELLS = st.one_of(
    st.sampled_from(
        ["8", "16", "32", "64", "0", "-1", "1e308", "1e-300", "nan", "", "yes", "no", '"', "#", "٣", "0x10"]
    ),
    st.text(max_size=5),
)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.lists(CELLS, max_size=5), max_size=8).map(
            lambda rows: ("batch_size,steps,epochs,censored\n" + "\n".join(",".join(row) for row in rows)).encode(
                errors="replace"
            )
        ),
        st.lists(st.tuples(st.integers(1, 2**40), st.floats(1e-6, 1e14)), max_size=9).map(
            lambda rows: ("batch_size,steps\n" + "\n".join(f"{size},{steps!r}" for size, steps in rows)).encode()
        ),
    )
)
@settings(deadline=None, max_examples=150)
def test_any_file_is_fitted_or_refused_in_one_sentence(tmp_path_factory: pytest.TempPathFactory, content: bytes):
    path = tmp_path_factory.mktemp("any") / "points.csv"
    path.write_bytes(content)
    refused = ""
    try:
        found = critbatch.fit(path, at=[1, 10**9])
        again = Fit.from_json(found.to_json())
    except UserError as error:
        refused = str(error)
    assert again == found if not refused else "\n" not in refused


def test_units_that_follow_are_filled_in():
    points, examples = in_one_unit(
        {"a": GoalPoint(batch_size=10, examples=500.0), "b": GoalPoint(batch_size=20, steps=9)}
    )
    assert [point.steps for point in points] == [50, 9] and examples is None


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_leaves_record_and_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert command("fit", str(TABLES / "mlperf-rnn-t.csv"), "--at", "4096", monkeypatch=monkeypatch) == 0
    folder = Path("critbatch-out/mlperf-rnn-t")
    said = capsys.readouterr().out
    assert "3,690" in said and "80 % interval" in said.partition("Predictions of the law")[2]
    (record,) = load_records(folder)
    assert isinstance(record, Fit) and record.predictions[0].batch_size == 4096
    assert "<html" in (folder / "report.html").read_text(encoding="utf-8")


def test_json_is_the_record_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = written(tmp_path, table())
    words = ("fit", str(path), "--at", "2048,8192", "--json", "--out", str(tmp_path / "out"))
    assert command(*words, monkeypatch=monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["law_holds"] is True and told["reason"] == ""
    assert [set(one) >= {"batch_size", "steps", "epochs", "low", "high"} for one in told["predictions"]] == [True, True]
    assert told["provenance"]["machine"]["torch"] == ""


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_whole_command_with_its_report_imports_no_torch(language: str, tmp_path: Path):
    code = (
        "import sys\n"
        "from critbatch.cli.main import _run\n"
        f"sys.argv = ['critbatch', 'fit', {str(TABLES / 'lars-googlenet.csv')!r}, '--at', '512', "
        f"'--out', {str(tmp_path)!r}, '--language', {language!r}]\n"
        "code = _run()\n"
        "print(code, 'torch' in sys.modules, 'sklearn' in sys.modules, 'optuna' in sys.modules)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert found.stdout.splitlines()[-1] == "0 False False False"
    assert (tmp_path / "report.html").is_file()
