#!/usr/bin/env python3
"""Read every file of a folder of public data with `pipe` and with pandas, and print rows, labels and dropped rows.

    pip install pandas
    python scripts/compare/data.py SHARED_DATA [--pipe target/release/pipe]

SHARED_DATA holds `covid19-tweets`, `imdb-subset`, `semeval2017-4a`, `sst2`, `tweeteval-sentiment` and
`xlm-t-sentiment-english`. `pipe` reads each file by one `preprocess` that neither drops repeated texts nor sets rows aside.
The exit code is 1 if the numbers of rows or their labels differ where both read the file.
"""
import argparse
import collections
import csv
import glob
import json
import os
import subprocess
import sys
import tempfile

import pandas


def sources(data):
    """Name of a file, the source in a pipeline file, and how pandas reads its labels."""
    def table(label, **options):
        return lambda path: pandas.read_csv(path, keep_default_na=False, **options)[label].astype(str).str.strip()

    for name, encoding in [("Corona_NLP_train.csv.gz", "latin-1"), ("Corona_NLP_test.csv", "utf-8"),
                           ("Corona_NLP_test.utf8-bom.csv", "utf-8-sig")]:
        path = f"{data}/covid19-tweets/{name}"
        yield path, f'{{ path = "{path}", format = "covid19" }}', table("Sentiment", encoding=encoding)
    path = f"{data}/imdb-subset/imdb_subset_6000.csv.gz"
    yield path, f'{{ path = "{path}", text = "review", label = "sentiment", split = {{ column = "split" }} }}', table("sentiment")
    bare = {"sep": "\t", "header": None, "quoting": csv.QUOTE_NONE}
    for path in sorted(glob.glob(f"{data}/sst2/*.tsv")):
        yield path, f'{{ path = "{path}", header = false, text = 1, label = 2 }}', table(1, **bare)
    for path in sorted(glob.glob(f"{data}/semeval2017-4a/*.t*")):
        if "gold" in path:
            continue
        source = f'{{ path = "{path}", format = "tsv", header = false, id = 1, label = 2, text = 3 }}'
        yield path, source, table(1, **bare)
    for folder in ["tweeteval-sentiment", "xlm-t-sentiment-english"]:
        for path in sorted(glob.glob(f"{data}/{folder}/*_text.txt")):
            labels = path.replace("_text", "_labels")
            mapping = f"{data}/tweeteval-sentiment/mapping.txt"
            source = f'{{ path = "{path}", labels-file = "{labels}", mapping = "{mapping}" }}'
            names = dict(line.split() for line in open(mapping, encoding="utf-8"))
            yield path, source, lambda _, labels=labels, names=names: pandas.Series(
                [names[label] for label in open(labels).read().split()])


def read(pipe, source, folder):
    """The description of the corpus that `preprocess` makes of a source."""
    with open(f"{folder}/p.toml", "w", encoding="utf-8") as file:
        file.write(f'name = "t"\n[stage.corpus]\nuse = "preprocess"\nsources = [{source}]\n'
                   "validation = 0\ndedupe = false\nleakage = false\n")
    os.makedirs(f"{folder}/cache", exist_ok=True)
    run = subprocess.run([pipe, "run", "p.toml"], cwd=folder, capture_output=True, text=True)
    if run.returncode != 0:
        return None, run.stderr.strip().splitlines()[-1]
    where = subprocess.run([pipe, "cache", "path", "p.toml", "corpus"], cwd=folder, capture_output=True, text=True, check=True)
    with open(f"{where.stdout.strip()}/corpus.json", encoding="utf-8") as file:
        return json.load(file), ""


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data")
    arguments.add_argument("--pipe", default="target/release/pipe")
    chosen = arguments.parse_args()
    data, pipe = os.path.abspath(chosen.data), os.path.abspath(chosen.pipe)
    wrong = 0
    print("| file | rows | labels | dropped | encoding | pandas: rows | same labels |\n| --- | --- | --- | --- | --- | --- | --- |")
    for path, source, labels in sources(data):
        with tempfile.TemporaryDirectory() as folder:
            corpus, why = read(pipe, source, folder)
        name = os.path.relpath(path, data)
        theirs = labels(path)
        if corpus is None:
            print(f"| {name} | {why} | | | | {len(theirs):,} | |")
            wrong += 1
            continue
        report = corpus["report"]
        ours = collections.Counter()
        for split in report["splits"].values():
            ours.update(dict(zip(corpus["labels"], split["labels"])))
        dropped = ", ".join(f"{count} {reason}" for reason, count in report["dropped"].items() if count) or "0"
        counts = " · ".join(f"{label} {ours[label]:,}" for label in corpus["labels"])
        same = dict(ours) == dict(collections.Counter(theirs))
        wrong += (not same or report["rows"] != len(theirs)) and dropped == "0"
        print(f"| {name} | {report['rows']:,} | {counts} | {dropped} | {report['sources'][0]['encoding']} | {len(theirs):,} | "
              f"{'yes' if same else 'no'} |")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
