"""`mmcoa store export` and `import`: a colleague gets the same rows; a hostile archive gets nothing in."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mmcoa_cli.settings import Home
from store.archives import DOCUMENT, open_archive, write_archive
from store.checkpoints import load_spec, load_tensors, save_checkpoint
from store.errors import UserError
from store.index import Index
from store.keys import digest_file

from .conftest import typed
from .test_removing import files, held


@pytest.fixture
def other(home: Home, furnish: Callable[[Path], Home], tmp_path: Path) -> Home:
    """The store of a colleague, who has the same data and models."""
    return furnish(tmp_path / "other")


@pytest.fixture
def archive(home: Home, run: str, tmp_path: Path) -> Path:
    path = tmp_path / "run.zip"
    moved = typed("export", run, str(path), "--examples")
    assert moved["run"] == run and moved["evaluations"] == 2 and moved["bytes"] == path.stat().st_size
    return path


@pytest.fixture
def there(other: Home, archive: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """What is typed from now on is typed by the colleague."""
    monkeypatch.setenv("MMCOA_HOME", str(other.root))
    return other


def rows(home: Home, run: str) -> Any:
    index = Index(home.database_url)
    results = [asdict(result) for _, result in index.results(runs=[run])]
    return index.run(run), sorted(results, key=lambda one: (one["evaluation"], one["metric"])), index.epochs(run)


def contents(home: Home, run: str) -> dict[str, str]:
    keys = [result["examples"] for result in rows(home, run)[1]]
    named = [name for name in files(home.root) if run in name or any(key in name for key in keys)]
    return {name: digest_file(home.root / name) for name in named}


def test_the_same_rows_and_files_come_out(home: Home, run: str, there: Home, archive: Path) -> None:
    moved = typed("import", str(archive))
    assert moved["new"] == moved["evaluations"] == 2
    assert rows(there, run) == rows(home, run)
    assert contents(there, run) == contents(home, run)
    assert typed("verify")["ok"] and typed("gc", "--dry-run")["removed"][0]["kind"] == "optimizer state"
    before = files(there.root)
    assert typed("import", str(archive))["new"] == 0  # again is nothing
    assert rows(there, run) == rows(home, run) and files(there.root) == before


def test_what_is_imported_is_what_is_stored(there: Home, run: str, archive: Path) -> None:
    """The same evaluation is found, and nothing is computed again."""
    from mmcoa_cli.jobs import launch
    from mmcoa_cli.jobs.evaluation_spec import evaluation_spec
    from mmcoa_cli.jobs.job import Job
    from mmcoa_cli.jobs.known import Known
    from mmcoa_cli.jobs.preflight import resolve

    typed("import", str(archive))
    job = Job(evaluate=evaluation_spec(run, ("digits",), ("clean", "image"), limit=10, steps=1))
    assert Known(there).outcome(job, resolve(job, there).subject) == launch.run(job)


def test_later_evaluations_are_added(home: Home, run: str, there: Home, archive: Path) -> None:
    link = next(link for link in Index(home.database_url).links() if link.run_id == run)
    typed("import", str(archive))
    typed("rm", link.evaluation, "--yes")
    assert typed("import", str(archive))["new"] == 1
    assert rows(there, run) == rows(home, run)


def test_a_run_that_is_there_and_another_is_refused(there: Home, run: str, archive: Path) -> None:
    typed("import", str(archive))
    index = Index(there.database_url)
    known = index.run(run)
    assert known is not None
    index.save_run(type(known)(**{**asdict(known), "weights": "0" * 40}))
    with pytest.raises(UserError, match=f"run {run} is here already, with other weights") as error:
        typed("import", str(archive))
    assert error.value.hint.startswith(f"mmcoa store rm {run}")
    index.save_run(known)
    result = index.results(runs=[run])[0][1]
    index.save_results([type(result)(**{**asdict(result), "value": 0.5, "low": None, "high": None})])
    with pytest.raises(UserError, match="is here already and another"):
        typed("import", str(archive))


def test_what_is_being_trained_is_not_moved(home: Home, run: str, tmp_path: Path, archive: Path) -> None:
    with held(home.runs / run):
        with pytest.raises(UserError, match="used by another process"):
            typed("export", run, str(tmp_path / "two.zip"))
        with pytest.raises(UserError, match="used by another process"):
            typed("import", str(archive))
    with pytest.raises(UserError, match="is there already"):
        typed("export", run, str(archive))


def unpacked(archive: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """The document and the files of an archive, to be changed."""
    with open_archive(archive) as opened:
        for name in opened.sizes:
            opened.extract(name, folder / name)
        return opened.document, {name: folder / name for name in opened.sizes}


def leading_out(document: Any, files: dict[str, Path]) -> None:
    files["../evil.json"] = next(iter(files.values()))


def elsewhere(document: Any, files: dict[str, Path]) -> None:
    files["index.db"] = next(iter(files.values()))


def code(document: Any, files: dict[str, Path]) -> None:
    weights = next(name for name in files if name.endswith("epoch-002/model.safetensors"))
    files[weights.replace("model.safetensors", "open_clip_pytorch_model.bin")] = files[weights]


def other_weights(document: Any, files: dict[str, Path]) -> None:
    """A checkpoint that is whole in itself, under the id of another."""
    folder = next(file.parent for name, file in files.items() if name.endswith("epoch-002/spec.json"))
    spec = load_spec(folder)
    tensors = {name: tensor + 1 for name, tensor in load_tensors(folder).items()}
    texts = {name: (folder / name).read_text() for name in spec["files"]}
    gone = ("sha256", "state_sha256", "seal")
    save_checkpoint(folder, tensors=tensors, spec={k: v for k, v in spec.items() if k not in gone}, files=texts)
    for name in [name for name in files if name.endswith("epoch-002/state.safetensors")]:
        del files[name]


def other_id(document: Any, files: dict[str, Path]) -> None:
    path = next(file for name, file in files.items() if name.endswith("run.json"))
    said = json.loads(path.read_text())
    said["identity"]["seed"] = 7
    path.write_text(json.dumps(said))


def other_specification(document: Any, files: dict[str, Path]) -> None:
    document["run"]["source"] = "imagenet"


def of_another_run(document: Any, files: dict[str, Path]) -> None:
    document["results"][0]["run_id"] = "clip-vit"


def no_value(document: Any, files: dict[str, Path]) -> None:
    document["results"][0]["value"] = 2.0


def more_columns(document: Any, files: dict[str, Path]) -> None:
    document["results"][0]["evil"] = 1


def no_name(document: Any, files: dict[str, Path]) -> None:
    document["run"]["id"] = "../../evil"


def cut_examples(document: Any, files: dict[str, Path]) -> None:
    path = next(file for name, file in files.items() if name.startswith("examples/"))
    path.write_bytes(path.read_bytes()[:-100])


def without_weights(document: Any, files: dict[str, Path]) -> None:
    for name in [name for name in files if "epoch-002" in name]:
        del files[name]


HARMS = (
    leading_out, elsewhere, code, other_weights, other_id, other_specification, of_another_run, no_value,
    more_columns, no_name, cut_examples, without_weights,
)  # fmt: skip


@pytest.mark.parametrize("harm", HARMS)
def test_a_hostile_archive_leaves_the_store_as_it_was(
    there: Home, archive: Path, tmp_path: Path, harm: Callable[[Any, dict[str, Path]], None]
) -> None:
    document, named = unpacked(archive, tmp_path / "unpacked")
    harm(document, named)
    hostile = tmp_path / "hostile.zip"
    write_archive(hostile, document, named)
    before = {name for name in files(there.root) if not name.startswith("index.db")}
    with pytest.raises(UserError):
        typed("import", str(hostile))
    left = {name for name in files(there.root) if not name.startswith("index.db")}
    assert left == before
    assert Index(there.database_url).counts() == (0, 0)
    assert not list(tmp_path.rglob("evil*"))


def compressed(archive: zipfile.ZipFile, out: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        out.writestr(info.filename, archive.read(info), zipfile.ZIP_DEFLATED)


def with_a_link(archive: zipfile.ZipFile, out: zipfile.ZipFile) -> None:
    for number, info in enumerate(archive.infolist()):
        made = zipfile.ZipInfo(info.filename)
        made.external_attr = (0o120777 if number == 1 else 0o100644) << 16
        out.writestr(made, archive.read(info))


def twice(archive: zipfile.ZipFile, out: zipfile.ZipFile) -> None:
    for info in [*archive.infolist(), archive.infolist()[-1]]:
        out.writestr(info.filename, archive.read(info))


def not_listed(archive: zipfile.ZipFile, out: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        out.writestr(info.filename, archive.read(info))
    out.writestr("more.json", "{}")


def altered(archive: zipfile.ZipFile, out: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        content = archive.read(info)
        out.writestr(info.filename, content if info.filename == DOCUMENT else content[:-1] + b"?")


def no_list(archive: zipfile.ZipFile, out: zipfile.ZipFile) -> None:
    for info in archive.infolist():
        document = {"format": 1, "run": [1, 2]}
        out.writestr(info.filename, json.dumps(document) if info.filename == DOCUMENT else archive.read(info))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("harm", [compressed, with_a_link, twice, not_listed, altered, no_list])
def test_an_archive_of_another_form_is_refused(
    there: Home, archive: Path, tmp_path: Path, harm: Callable[[zipfile.ZipFile, zipfile.ZipFile], None]
) -> None:
    hostile = tmp_path / "hostile.zip"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(hostile, "w") as out:
        harm(source, out)
    before = files(there.root)
    with pytest.raises(UserError, match="the archive cannot be taken"):
        typed("import", str(hostile))
    assert {name for name in files(there.root) if not name.startswith("index.db")} == before


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_a_file_that_is_no_archive(there: Home, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "some.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match="the archive cannot be taken"):
        typed("import", str(path))
