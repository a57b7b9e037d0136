"""The command line as it is typed: help without heavy imports, errors of two lines, exit codes, JSON on stdout."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from indexes import RESULT, RUN

import store
from mmcoa_cli import __version__, app
from mmcoa_cli.app import VERBS
from mmcoa_cli.settings import Home
from store.index import Index

ROOT = Path(store.__file__).parents[1]
HEAVY = {"torch", "transformers", "open_clip", "sqlalchemy", "h5py", "accelerate", "sklearn", "numpy"}
HELP = """
import sys
sys.argv = ["mmcoa", *sys.argv[1:]]
from mmcoa_cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
Ended = tuple[int, str, str]


@pytest.fixture
def mmcoa(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Runs a command in this process, on a store of the test's own and with no network: exit code, stdout, stderr."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable is read at its import
    monkeypatch.setenv("COLUMNS", "120")

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["mmcoa", *words])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def two_lines(ended: Ended) -> tuple[str, str]:
    """The error and the hint that a failed command ends with; what stands before is about what it did until then."""
    code, out, err = ended
    assert (code, out) == (1, "")
    assert "Traceback" not in err and "bug in mmcoa" not in err
    error, hint = err.splitlines()[-2:]
    assert error.startswith("error: ") and hint.startswith("hint: ")
    return error, hint


@pytest.mark.parametrize("words", [[], *([verb] for verb in VERBS)], ids=lambda words: "".join(words) or "mmcoa")
def test_help_imports_nothing_heavy_and_ends_with_examples(words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HELP, *words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"COLUMNS": "200", "HOME": "/nowhere"},
    )  # fmt: skip
    assert not HEAVY & set(ended.stderr.split())
    assert "Usage: mmcoa" in ended.stdout
    last = ended.stdout.strip().splitlines()[-1]
    assert f"mmcoa {words[0] if words else 'demo'}" in last


def test_a_verb_loads_no_other_and_its_help_neither_pydantic_nor_markdown() -> None:
    """What takes most of the start of a typer program, beside typer and rich."""
    loaded = "import sys; from mmcoa_cli.app import main\ntry: main()\nexcept SystemExit: print(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", loaded, "demo", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = set(ended.stdout.split())
    assert {name for name in names if name.startswith("mmcoa_cli.commands.")} == {
        "mmcoa_cli.commands.demo", "mmcoa_cli.commands.output",
    }  # fmt: skip
    assert not {"pydantic", "markdown_it", "pygments", "mmcoa_cli.attacks", "mmcoa_cli.jobs"} & names


@pytest.mark.parametrize("words", [["--help"], ["fetch", "--list"], ["runs", "--help"], ["store", "ls"]])
def test_what_lists_starts_without_what_computes(words: list[str], tmp_path: Path) -> None:
    """`--help` builds no verb, and where a value has its type already, typer loads no pydantic for it."""
    loaded = "import sys; from mmcoa_cli.app import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", loaded, *words], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"MMCOA_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    names = set(ended.stdout.splitlines()[-1].split())
    assert not {"pydantic", "numpy", "h5py", "filelock", "sqlalchemy", "torch"} & names
    verbs = {name.rpartition(".")[2] for name in names if name.startswith("mmcoa_cli.commands.")} & {*VERBS}
    assert verbs == set(words[:1]) & {*VERBS}


@pytest.mark.parametrize("words", [["runs"], ["store", "ls"], ["report", "--task", "iid"]])
def test_what_only_reads_starts_without_what_writes_and_computes(words: list[str], tmp_path: Path) -> None:
    index = Index(f"sqlite:///{tmp_path / 'index.db'}")
    index.save_run(RUN)
    index.save_results([RESULT])
    loaded = "import sys; from mmcoa_cli.app import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", loaded, *words], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"MMCOA_HOME": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    *shown, names = ended.stdout.splitlines()
    assert RUN.method in "".join(shown)
    assert not {"sqlalchemy", "numpy", "h5py", "pydantic", "filelock", "torch"} & {*names.split()}
    assert words != ["runs"] or "mmcoa_cli.reports.lines" not in names.split()  # it lists, and makes no table


def test_every_verb_has_help_and_a_place_in_the_readme(mmcoa: Callable[..., Ended]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    _, shown, _ = mmcoa("--help")
    for verb in VERBS:
        assert f" {verb} " in shown
        assert f"mmcoa {verb}" in readme


def test_the_version(mmcoa: Callable[..., Ended]) -> None:
    assert mmcoa("--version") == (0, f"mmcoa {__version__}\n", "")


@pytest.mark.parametrize("words", [["train", "--nonsense"], ["train", "--steps", "x"], ["evaluate"]])
def test_what_cannot_be_understood_exits_with_2(mmcoa: Callable[..., Ended], words: list[str]) -> None:
    code, out, err = mmcoa(*words)
    assert (code, out) == (2, "")
    assert err


CHOICES = {
    "train --method tecao": ("--method", "'tecoa'"),
    "train --tune all": ("--tune", "'both', 'image', 'text'"),
    "train --contrast x": ("--contrast", "'batch', 'class'"),
    "evaluate --checkpoint x --attack clean,imgae": ("--attack", "Did you mean 'image'?"),
    "evaluate --checkpoint x --attack ,": ("--attack", "a name is missing"),
    "evaluate --checkpoint x --norm l1": ("--norm", "'linf', 'l2'"),
    "evaluate --checkpoint x --compat paper": ("--compat", "'none', 'release'"),
    "evaluate --checkpoint x --precision fp8": ("--precision", "'fp32', 'tf32', 'bf16'"),
    "attack imgae": ("ATTACK", "Did you mean 'image'?"),
    "report --task idd": ("--task", "Did you mean 'iid'?"),
    "report --attack pgd": ("--attack", "'clean', 'image', 'text', 'multimodal'"),
    "report --format pdf": ("--format", "'markdown'"),
    "reproduce tabel1": ("NAME", "Did you mean 'table1'?"),
    "reproduce table1 --preset fast": ("--preset", "'paper', 'quick'"),
    "fetch --task x": ("--task", "'ood'"),
    "fetch x --kind y": ("--kind", "'mlm'"),
    "nonsense": ("nonsense", ""),
    "trian": ("trian", "Did you mean 'train'"),
    "train --epoch 3": ("--epoch", "--epochs"),
}


@pytest.mark.parametrize("line", CHOICES)
def test_a_word_that_is_no_choice_is_a_usage_error_which_names_them(mmcoa: Callable[..., Ended], line: str) -> None:
    code, out, err = mmcoa(*line.split())
    told = " ".join(err.replace("│", "").split())
    assert (code, out) == (2, "")
    assert all(word in told for word in CHOICES[line]), told


TRAIN = ("train", "--dataset", "digits", "--model", "vit", "--mlm", "mlm")
EVALUATE = ("evaluate", "--checkpoint", "vit", "--dataset", "digits", "--mlm", "mlm")
ON_DIGITS = ("--dataset", "digits", "--mlm", "mlm")
WRONG = {
    "dataset": (("train", "--dataset", "digit"), "there is no dataset called 'digit'", "did you mean digits"),
    "model": (
        ("train", *ON_DIGITS, "--model", "tiny-clipp"),
        "there is no model called 'tiny-clipp'",
        "did you mean tiny-clip?",
    ),
    "mlm": (
        ("train", "--dataset", "digits", "--model", "vit", "--mlm", "x/y"),
        "HF_HUB_OFFLINE",
        "mmcoa fetch x/y --from PATH",
    ),
    "checkpoint": (("evaluate", *ON_DIGITS, "--checkpoint", "x"), "no run or model called 'x'", "mmcoa train"),
    "eps of 1": ((*EVALUATE, "--eps", "1"), "--eps 1 is the whole range of a pixel", "--eps 1/255"),
    "eps of 1 in training": ((*TRAIN, "--eps", "1"), "--eps 1 is the whole range of a pixel", "--eps 1/255"),
    "eps of abc": ((*EVALUATE, "--eps", "abc"), "--eps 'abc' is not a number", "--eps 1/255"),
    "eps of 0": ((*EVALUATE, "--eps", "0"), "--eps 0 leaves every image as it is", "--attack clean"),
    "an option twice": ((*EVALUATE, "--checkpoint", "x"), "--checkpoint is given twice", "once, with commas"),
    "alpha": ((*TRAIN, "--alpha", "1/0"), "--alpha '1/0' is not a number", "--alpha 1/255"),
    "steps": ((*TRAIN, "--steps", "-1"), "steps", "--steps"),
    "shots": ((*TRAIN, "--shots", "many"), "--shots many", "--shots 5"),
    "too many shots": ((*TRAIN, "--shots", "1000"), "--shots 1000", "--shots full"),
    "epochs": ((*TRAIN, "--epochs", "0"), "--epochs 0 is not positive", "a number above 0"),
    "learning rate": ((*TRAIN, "--lr", "nan"), "--lr nan", "a number above 0"),
    "limit": ((*EVALUATE, "--limit", "0"), "--limit 0 is not positive", "a number above 0"),
    "seed": ((*TRAIN, "--seed", "-1"), "--seed -1 is out of range", "--seed 0"),
    "resume": (("train", "--resume", "x"), "'x'", "mmcoa train"),
    "processes": ((*EVALUATE, "--processes", "0"), "--processes 0", "--processes 1"),
    "configuration": ((*TRAIN, "--accelerate-config", "/x"), "there is no file /x", "accelerate config"),
    "architecture": (("pretrain", "--config", "/x", "--dataset", "digits", "--name", "x"), "/x", "--config ARCH.json"),
    "nothing": (("report",), "the index holds no result", "mmcoa demo"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_a_user_can_get_wrong_is_two_lines(mmcoa: Callable[..., Ended], case: str) -> None:
    words, in_error, in_hint = WRONG[case]
    error, hint = two_lines(mmcoa(*words))
    assert in_error in error
    assert in_hint in hint


def test_the_papers_defaults_without_a_network(mmcoa: Callable[..., Ended]) -> None:
    error, hint = two_lines(mmcoa("train", "--method", "mmcoa", "--shots", "5"))
    assert error == "error: the dataset cifar100 is not in the store"
    for way in ("mmcoa fetch cifar100", "--from", "mmcoa demo", "--dataset digits --model tiny-clip --mlm tiny-mlm"):
        assert way in hint
    error, hint = two_lines(mmcoa("train", "--method", "mmcoa", "--shots", "5", "--dataset", "digits"))
    assert "HF_HUB_OFFLINE" in error
    for way in ("mmcoa fetch ViT-B-32 --from", "mmcoa demo", "--dataset digits --model tiny-clip --mlm tiny-mlm"):
        assert way in hint


@pytest.mark.parametrize("words", [("fetch", "digits"), TRAIN, EVALUATE, ("report",), ("demo",)], ids=lambda w: w[0])
@pytest.mark.parametrize("place", ["/sys/mmcoa", "file/home", "file"])
def test_a_home_that_cannot_be_written(
    mmcoa: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, words: tuple[str, ...]
) -> None:
    """/sys lets not even root make a folder; the others are a file, and a folder in a file."""
    (tmp_path / "file").write_text("", encoding="utf8")
    monkeypatch.setenv("MMCOA_HOME", str(tmp_path / place))
    assert two_lines(mmcoa(*words))[1] == "hint: set MMCOA_HOME to a folder you may write to"


def test_debug_shows_where(mmcoa: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["report", "--debug"], ["--debug", "report"]):
        monkeypatch.setattr(sys, "argv", ["mmcoa", *words])
        with pytest.raises(Exception, match="the index holds no result"):
            app.main()


ROW = {
    "method", "model", "source", "shots", "dataset", "attack", "metric", "compat", "value", "n", "ci95", "seed", "run",
    "evaluation", "paper",
}  # fmt: skip
PROMPT = ("dataset", "run", "attack", "evaluation", "class", "clean", "adversarial")


def test_json_of_train_evaluate_attack_and_report(mmcoa: Callable[..., Ended], home: Home) -> None:
    small = ("--eps", "8/255", "--batch-size", "50", "--json")
    code, out, _ = mmcoa(*TRAIN, "--method", "mmcoa", "--shots", "1", "--epochs", "1", "--lr", "1e-4", *small)
    trained = json.loads(out)
    assert code == 0 and set(trained) == {"rows", "run", "prompts", "took", "planned"}
    assert [row["attack"] for row in trained["rows"]] == ["clean", "image", "text", "multimodal"]
    assert all(set(row) >= ROW and row["run"] == trained["run"] for row in trained["rows"])
    assert all(0 <= row["ci95"][0] <= row["value"] <= row["ci95"][1] <= 1 for row in trained["rows"])
    assert {tuple(prompt) for prompt in trained["prompts"]} == {PROMPT}
    told = [(prompt["run"], prompt["attack"], prompt["evaluation"]) for prompt in trained["prompts"]]
    assert [*dict.fromkeys(told)] == [(row["run"], row["attack"], row["evaluation"]) for row in trained["rows"][2:]]
    tested = ("--checkpoint", trained["run"][:-1], "--dataset", "digits", "--batch-size", "50", "--json")
    evaluated = json.loads(mmcoa("evaluate", *tested, "--attack", "clean,image", "--eps", "8/255")[1])
    assert set(evaluated) == {"rows", "run"}
    assert evaluated["rows"] == trained["rows"][:2]
    attacked = json.loads(mmcoa("attack", "text", *tested, "--mlm", "mlm")[1])
    assert set(attacked) == {"rows", "run", "prompts"}  # all of it was there
    assert attacked["rows"] == [trained["rows"][2]]
    assert [prompt["class"] for prompt in attacked["prompts"]][:2] == ["zero", "one"]
    reported = json.loads(mmcoa("report", "--json")[1])
    assert reported["task"] == "iid"
    assert all(row in reported["rows"] for row in trained["rows"])
    left = {path.suffix for path in home.examples.iterdir() if path.is_file()}
    assert left <= {".h5", ".lock"}


def test_json_of_pretrain_fetch_and_doctor(mmcoa: Callable[..., Ended], tmp_path: Path) -> None:
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 8, "layers": 1, "width": 16, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
    }
    (tmp_path / "arch.json").write_text(json.dumps(config), encoding="utf8")
    words = ("--config", str(tmp_path / "arch.json"), "--dataset", "digits", "--epochs", "1", "--name", "small")
    code, out, _ = mmcoa("pretrain", *words, "--json")
    assert code == 0 and set(json.loads(out)) == {"name", "folder", "origin"}
    listed = json.loads(mmcoa("fetch", "--list", "--json")[1])
    assert set(listed) == {"datasets", "models", "mlms"}
    assert {row["name"]: row["here"] for row in listed["models"]}.items() >= {("small", True), ("tiny-clip", False)}
    assert set(json.loads(mmcoa("doctor", "--json")[1])) == {"ok", "checks"}


def test_train_says_the_run_and_what_comes_next(mmcoa: Callable[..., Ended]) -> None:
    words = ("--dataset", "digits", "--model", "vit", "--shots", "1", "--epochs", "1", "--no-evaluate")
    code, out, err = mmcoa("train", "--method", "ft-standard", *words)
    assert code == 0 and out.startswith("run ft-standard-digits-1shot-")
    run = out.split()[1]
    assert f"mmcoa evaluate --checkpoint {run}" in err
    code, again, err = mmcoa("train", "--resume", run, "--no-evaluate")
    assert (code, again) == (0, out)
    assert "is in the store already" in err
