#!/usr/bin/env python3
"""Make tests/fixtures/data: small data sets as `datasets` and pandas write them.

    pip install datasets pandas pyarrow
    python scripts/make_data_fixtures.py
"""
import os
import shutil

import pandas
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

OUT = "tests/fixtures/data"
FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["negative", "positive"])})


def make(texts, labels):
    return Dataset.from_dict({"text": texts, "label": labels}, features=FEATURES)


shutil.rmtree(OUT, ignore_errors=True)
os.makedirs(f"{OUT}/repository/data")
splits = DatasetDict({
    "train": make(["good day", "bad day – ‘no’", "so so"], [1, 0, -1]),
    "test": make(["fine"], [1]),
})
splits.save_to_disk(f"{OUT}/saved")
for split, rows in splits.items():
    rows.to_parquet(f"{OUT}/repository/data/{split}-00000-of-00001.parquet")
# A categorical column is a dictionary; Feather is packed with LZ4.
frame = pandas.DataFrame({"text": ["good day", "bad day"], "label": pandas.Categorical(["p", "n"]), "extra": [[1], [2]]})
frame.to_feather(f"{OUT}/pandas.feather")
frame.to_parquet(f"{OUT}/pandas.zstd.parquet", compression="zstd")
