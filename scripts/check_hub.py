#!/usr/bin/env python3
"""Hold the tests' Hub to Python's clients, and the two caches to each other.

    pip install huggingface_hub datasets
    cargo build --release && cargo build --release --example hub_server
    python scripts/check_hub.py MODEL_DIR [--target target/release]

MODEL_DIR is a trained model with its tokenizer (`pipe cache path FILE STAGE`). The script serves it with
`src/ml/hub/server.rs`, the server of pipe's tests, beside a small data set that it makes. Then

- `huggingface_hub` and `datasets` download from it: commits, redirects, a renamed repository, etags, sizes and errors are
  those that they expect of the Hub;
- what Python cached, `pipe` reads offline, and what `pipe` cached, Python reads offline.

It prints a line for every check, and fails at the first that does not hold. `src/ml/hub/python_tests.rs` has what it found as
facts, so that the tests need no Python.
"""
import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROWS = [{"text": f"the queue was {'good' if i % 2 else 'bad'} on day {i}", "label": i % 2} for i in range(20)]
CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
  - split: test
    path: data/test-*.parquet
---
# Data
"""


def check(holds, what):
    print(("ok    " if holds else "FAILED ") + what, flush=True)
    if not holds:
        sys.exit(1)


def make_data(folder):
    import datasets

    datasets.disable_progress_bars()
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text(CARD)
    datasets.Dataset.from_list(ROWS[:16]).to_parquet(str(folder / "data/train-00000-of-00001.parquet"))
    datasets.Dataset.from_list(ROWS[16:]).to_parquet(str(folder / "data/test-00000-of-00001.parquet"))


def raises(error, call):
    try:
        call()
    except Exception as found:
        return isinstance(found, error) or f"{type(found).__name__}: {found}"
    return "nothing was raised"


def etag(content, is_big):
    return hashlib.sha256(content).hexdigest() if is_big else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def python(endpoint, home, code, offline=False):
    """Run a Python of its own: the libraries read their settings when they are imported."""
    env = dict(os.environ, HF_ENDPOINT=endpoint, HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1")
    env.update({"HF_HUB_OFFLINE": "1"} if offline else {})
    ran = subprocess.run([sys.executable, __file__, "--inner", code], env=env, capture_output=True, text=True)
    sys.stdout.write(ran.stdout)
    if ran.returncode != 0:
        sys.exit(f"{code} failed:\n{ran.stderr[-3000:]}")


def downloads(model):
    import huggingface_hub as hub
    from huggingface_hub import errors

    folder = Path(hub.snapshot_download("some/model"))
    files = sorted(path.name for path in Path(model).iterdir())
    check(sorted(path.name for path in folder.iterdir()) == files, f"snapshot_download brings all {len(files)} files")
    check(folder.name == COMMIT, "under the commit that `main` points to")
    check(all((folder / name).read_bytes() == (Path(model) / name).read_bytes() for name in files), "byte for byte")
    for name in ["model.safetensors", "config.json"]:
        content = (Path(model) / name).read_bytes()
        told = hub.get_hf_file_metadata(hub.hf_hub_url("some/model", name))
        right = (COMMIT, etag(content, name.endswith(".safetensors")), len(content))
        check((told.commit_hash, told.etag, told.size) == right, f"commit, etag and size of {name} are those of git and LFS")
        check(os.path.basename(os.path.realpath(folder / name)) == right[1], f"and name its blob")
    old = hub.hf_hub_download("old/model", "config.json")
    check(Path(old).read_bytes() == (Path(model) / "config.json").read_bytes(), "a renamed repository is followed")
    check(COMMIT in hub.hf_hub_download("some/model", "config.json", revision=COMMIT), "a commit can be named")
    check(hub.model_info("some/model").sha == COMMIT, "model_info has the commit")
    check(sorted(hub.list_repo_files("some/model")) == files, "list_repo_files has the files")
    found = hub.get_paths_info("some/model", ["config.json", "nothing"])
    check([(one.path, one.size) for one in found] == [("config.json", (Path(model) / "config.json").stat().st_size)], "get_paths_info")
    check(hub.file_exists("some/model", "config.json") and not hub.file_exists("some/model", "nothing"), "file_exists")
    for error, name, call in [
        (errors.EntryNotFoundError, "EntryNotFoundError", lambda: hub.hf_hub_download("some/model", "nothing.json")),
        (errors.RevisionNotFoundError, "RevisionNotFoundError", lambda: hub.model_info("some/model", revision="v9")),
        (errors.RepositoryNotFoundError, "RepositoryNotFoundError", lambda: hub.model_info("some/other")),
    ]:
        found = raises(error, call)
        check(found is True, f"{name} is raised" if found is True else f"{name}, but {found}")


def loads_data():
    import datasets

    datasets.disable_progress_bars()
    loaded = datasets.load_dataset("some/data")
    check({name: len(split) for name, split in loaded.items()} == {"train": 16, "test": 4}, "load_dataset finds the splits")
    check(loaded["train"].to_list() + loaded["test"].to_list() == ROWS, "and every row")
    one = datasets.load_dataset("some/data", revision=COMMIT, split="train")
    check(one.to_list() == ROWS[:16], "at a commit too")


def reads_offline(model):
    import huggingface_hub as hub

    folder = Path(hub.snapshot_download("some/model", local_files_only=True))
    check(folder.name == COMMIT, "Python finds what pipe downloaded, by its branch")
    same = (folder / "model.safetensors").read_bytes() == (Path(model) / "model.safetensors").read_bytes()
    check(same, "with the same weights")
    found = hub.hf_hub_download("some/model", "config.json", revision=COMMIT)
    check(Path(found).parent == folder, "and by its commit, in the same folder")
    cache = hub.scan_cache_dir()
    check(not cache.warnings, f"scan_cache_dir has nothing to object {cache.warnings or ''}")
    check([repo.repo_id for repo in cache.repos] == ["some/model"], "and lists the model")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("--target", default="target/release")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.inner:
        return eval(args.inner)
    model, target = str(Path(args.model).resolve()), Path(args.target).resolve()
    with tempfile.TemporaryDirectory() as temp:
        temp = Path(temp)
        make_data(temp / "data-set")
        server = subprocess.Popen(
            [target / "examples/hub_server", model, temp / "data-set"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        endpoint = server.stdout.readline().strip()
        nowhere = "http://127.0.0.1:9"

        def pipe(home, words, offline=True):
            env = dict(os.environ, HF_HOME=str(home), HF_ENDPOINT=nowhere if offline else endpoint, NO_COLOR="1")
            env.pop("HF_HUB_OFFLINE", None)
            env.update({"HF_HUB_OFFLINE": "1"} if offline else {})
            return subprocess.run([target / "pipe", *words], env=env, capture_output=True, text=True, cwd=temp / "project")

        (temp / "project/cache").mkdir(parents=True)
        (temp / "project/p.toml").write_text('[stage.theirs]\nuse = "model@hf:some/model"\n')
        python(endpoint, temp / "python", f"downloads({model!r})")
        python(endpoint, temp / "python-data", "loads_data()")

        text = ["--text", "the queue was good"]
        expected = pipe(temp / "python", ["predict", model, *text])
        check(expected.returncode == 0, f"pipe reads the folder itself {expected.stderr if expected.returncode else ''}")
        for reference in ["hf:some/model", f"hf:some/model@{COMMIT}"]:
            ran = pipe(temp / "python", ["predict", reference, *text])
            check(ran.stdout == expected.stdout != "", f"offline, pipe reads {reference} from what Python cached {ran.stderr if ran.returncode else ''}")
        ran = pipe(temp / "pipe", ["run", "p.toml"], offline=False)
        check(ran.returncode == 0, f"pipe downloads the model {ran.stderr if ran.returncode else ''}")
        python(nowhere, temp / "pipe", f"reads_offline({model!r})", offline=True)
        # Python adds what pipe left out to the same snapshot, and pipe still reads it.
        python(endpoint, temp / "pipe", f"downloads({model!r})")
        ran = pipe(temp / "pipe", ["predict", "hf:some/model", *text])
        check(ran.stdout == expected.stdout, f"and a cache that both have written {ran.stderr if ran.returncode else ''}")
        server.stdin.close()
        requests = sorted(set(server.stdout.read().splitlines()))
        print(f"the server got {len(requests)} different requests, such as", *requests[:6], sep="\n      ")


if __name__ == "__main__":
    main()
