"""Pushing to a hub of this machine: what arrives, what the hub refuses, and that it is fetched again as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hub import TOKEN, PushedTo, Repository
from huggingface_hub import constants, parse_eval_result_entries
from huggingface_hub.repocard import ModelCard

from mmcoa_cli import catalog
from mmcoa_cli.app import app
from mmcoa_cli.models.library import clip_path
from mmcoa_cli.models.load import load_model
from mmcoa_cli.models.runs import run_of, weights_of
from mmcoa_cli.reports.reading import rows_of, together
from mmcoa_cli.reports.rows import Row
from mmcoa_cli.settings import Home
from mmcoa_cli.sharing.card import card
from mmcoa_cli.sharing.eval_results import eval_results
from mmcoa_cli.sharing.handed import find
from mmcoa_cli.sharing.layouts import LAYOUTS
from store.errors import UserError
from store.index import Index


@pytest.fixture
def hub(at_hub: Callable[[type], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Repository]:
    """The repositories of a hub on this machine, on which this user is logged in."""
    PushedTo.repositories, PushedTo.large, PushedTo.refused_cards = {}, {}, []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    at_hub(PushedTo)
    return PushedTo.repositories


def push(*words: str) -> None:
    app(["push", *words], standalone_mode=False)


def rows_on(run: str, home: Home, dataset: str) -> list[Row]:
    """The results of a run, as if they were on another dataset, by attack: those of one second have no order."""
    found = Index(home.database_url).results(runs=[run])
    rows = rows_of(together((of, replace(result, dataset=dataset)) for of, result in found), numbers="")
    return sorted(rows, key=lambda row: row.attack)


def test_what_was_pushed_is_fetched_again_and_is_the_same(
    home: Home, run: str, hub: dict[str, Repository], capsys: pytest.CaptureFixture[str]
) -> None:
    push(run, "lab/robust", "--private", "--license", "mit", "--json")
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert "sending lab/robust: begun" in printed.err and "%|" not in printed.err  # no terminal: no bar of the hub's
    there = hub["lab/robust"]
    assert told["address"] == f"{constants.ENDPOINT}/lab/robust" and there.private
    assert told["files"] == {name: len(content) for name, content in there.files.items()}
    assert there.messages == [f"{run}, by mmcoa 0.1.0"]
    model = load_model("hf-hub:lab/robust", home)
    assert model.digest() == weights_of(run_of(run, home, Index(home.database_url)), home)
    assert json.loads((clip_path("hf-hub:lab/robust", home) / "source.json").read_text())["origin"] == "published"


def test_the_card_says_what_it_is(home: Home, run: str, hub: dict[str, Repository]) -> None:
    push(run, "lab/robust", "--license", "mit")
    found = ModelCard(hub["lab/robust"].files["README.md"].decode())
    assert found.data.to_dict() == {
        "license": "mit", "library_name": "open_clip", "pipeline_tag": "zero-shot-image-classification",
        "tags": ["clip", "adversarial-robustness", "adversarial-training", "mmcoa", "tecoa"],
    }  # fmt: skip
    clean, image = rows_on(run, home, "digits")
    for row in (clean, image):
        low, high = (f"{100 * end:.2f}" for end in row.ci95)
        assert f"| {100 * row.value:.2f} | {low}–{high} | 500 |" in found.text
    for said in (
        "# robust\n", "trained with tecoa on digits.", "**A stand-in:", "2 training images a class",
        "arXiv 2212.07016", "arXiv 2404.19287", "arXiv 2103.00020", 'hf-hub:lab/robust"', "\n## Licence\n\nmit\n",
        "image attack: L-inf, eps 8/255, alpha 4/255, 2 steps, on 8 x 8 pixels; seed 0",
    ):  # fmt: skip
        assert said in found.text, said
    assert not any(name.startswith(".eval_results") for name in hub["lab/robust"].files)  # digits is not of the hub


def test_a_published_base_and_a_dataset_of_the_hub_are_linked(home: Home, run: str) -> None:
    handed = find(run, home)
    handed = replace(handed, base="timm/clip", run=replace(handed.run, source="cifar10", model_origin="published"))
    found = ModelCard(card(handed, LAYOUTS["transformers"], place="lab/x", licence="", title="x"))
    data = found.data.to_dict()
    assert (data["base_model"], data["base_model_relation"]) == ("timm/clip", "finetune")
    assert (data["datasets"], data["library_name"]) == (["clip-benchmark/wds_vtab-cifar10"], "transformers")
    assert "license" not in data and "None is stated here. Those of timm/clip and of cifar10 (none stated" in found.text
    assert "stand-in" not in found.text


def test_results_are_in_the_hubs_own_form(home: Home, run: str) -> None:
    """Those on whole test sets of datasets that the hub has; in the order and the words of its specification."""
    clean, image = rows_on(run, home, "cifar10")
    found = eval_results([clean, image])
    assert [*found] == [
        ".eval_results/mmcoa-cifar10-clean_accuracy.yaml", ".eval_results/mmcoa-cifar10-robust_accuracy_image.yaml",
    ]  # fmt: skip
    (entry,) = yaml.safe_load(found[".eval_results/mmcoa-cifar10-robust_accuracy_image.yaml"])
    low, high = (f"{100 * end:.2f}" for end in image.ci95)
    assert entry == {
        "dataset": {"id": "clip-benchmark/wds_vtab-cifar10", "task_id": "robust_accuracy_image"},
        "value": round(100 * image.value, 2),
        "date": image.created_at,
        "evaluation_framework": "mmcoa",
        "notes": f"percent; 95% interval {low} to {high}, n = 500; image attack: L-inf, eps 8/255, alpha 4/255, "
        "2 steps, on 8 x 8 pixels; seed 0",
    }
    (parsed,) = parse_eval_result_entries([entry])
    assert (parsed.dataset_id, parsed.value) == (entry["dataset"]["id"], entry["value"])
    assert not eval_results(rows_on(run, home, "digits")) and not eval_results(rows_on(run, home, "my-own"))
    assert catalog.datasets()["cifar10"].sources[1].repository == entry["dataset"]["id"]


def test_another_push_takes_the_results_of_the_first_along(home: Home, run: str, hub: dict[str, Repository]) -> None:
    push(run, "lab/robust")
    hub["lab/robust"].files |= {
        ".eval_results/mmcoa-cifar10-clean_accuracy.yaml": b"[]", ".eval_results/hle.yaml": b"[]", "notes.txt": b"mine"
    }  # fmt: skip
    push(run, "lab/robust", "--epoch", "1")
    files = hub["lab/robust"].files
    assert ".eval_results/mmcoa-cifar10-clean_accuracy.yaml" not in files
    assert {".eval_results/hle.yaml", "notes.txt"} <= files.keys()
    assert "as it was after epoch 1" in files["README.md"].decode()
    assert "It was not tested with these weights." in files["README.md"].decode()


def test_a_dry_run_sends_nothing(
    home: Home, run: str, hub: dict[str, Repository], capsys: pytest.CaptureFixture[str]
) -> None:
    push(run, "lab/robust", "--dry-run")
    out = capsys.readouterr().out
    assert "open_clip_model.safetensors  " in out and not hub
    assert "\n\n---\nlibrary_name: open_clip\n" in out and "\n\n# robust\n\n" in out  # the card, line by line


def test_what_breaks_on_the_way_is_no_bug_of_ours(
    home: Home, hub: dict[str, Repository], monkeypatch: pytest.MonkeyPatch
) -> None:
    """hf_xet, which sends large files where it is installed, has errors of its own."""
    monkeypatch.setattr(PushedTo, "do_PUT", PushedTo.cut)
    with pytest.raises(UserError, match="cannot send lab/clip") as caught:
        push("vit", "lab/clip")
    assert caught.value.hint == "type the same command again"


def test_what_the_hub_refuses_is_told(home: Home, hub: dict[str, Repository]) -> None:
    with pytest.raises(UserError, match="does not let you write to others/clip") as caught:
        push("vit", "others/clip")
    assert caught.value.hint == "hf auth login, with a token that may write to others"
    PushedTo.refused_cards.append('"license" must be one of [apache-2.0, mit]')
    with pytest.raises(UserError, match=r'the hub refuses it: .*"license" must be one of') as caught:
        push("vit", "lab/clip", "--license", "mine")
    assert "--license takes" in caught.value.hint and not hub["lab/clip"].files
    for name in ("clip", "a/b/c", "lab/cl ip"):
        with pytest.raises(UserError, match=r"is no name of a repository|does not say whose it is"):
            push("vit", name)


def test_without_a_token_or_a_network_nothing_is_begun(
    home: Home, hub: dict[str, Repository], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot reach http://127.0.0.1:9 for lab/clip \(no network\?\)") as caught:
        push("vit", "lab/clip")
    assert caught.value.hint == "mmcoa export vit PATH writes the same into a folder"
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    with pytest.raises(UserError, match="only of those who are logged in") as caught:
        push("vit", "lab/clip")
    assert caught.value.hint == "hf auth login, with a token that may write"
