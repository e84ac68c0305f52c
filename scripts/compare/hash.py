#!/usr/bin/env python3
"""Compare digesting a big input for the first and the second time, and checking a cache, between this program and `b3sum`.

    scripts/compare/hash.py [--pipe target/release/pipe] [--b3sum b3sum] [--gb 5] [--times 3] [--folder DIR]

Times `pipe plan` of one stage that reads the file, as a whole process, with an empty stat cache and then again, and
`pipe cache verify` on a cache with a corpus of about a tenth of that size. The script reads the file once before, so that it
measures memory and not the disk.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def timed(command, folder):
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr + done.stdout
    return seconds


def big_file(path, gigabytes):
    block = os.urandom(1 << 20)
    with open(path, "wb") as file:
        for i in range(int(gigabytes * 1e9) >> 20):
            file.write(i.to_bytes(8, "little") + block[8:])


def project(folder, source):
    (folder / "cache").mkdir(parents=True)
    (folder / "p.toml").write_text(
        f'[stage.corpus]\nuse = "preprocess"\nsources = [{{ path = "{source}", format = "csv" }}]\n'
    )


def objects(folder):
    return [str(path) for path in (folder / "cache/objects").glob("*/*")]


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pipe", default=str(ROOT / "target/release/pipe"))
    options.add_argument("--b3sum", default="b3sum")
    options.add_argument("--gb", type=float, default=5)
    options.add_argument("--times", type=int, default=3)
    options.add_argument("--folder", help="where to put the file")
    args = options.parse_args()
    pipe, temp = os.path.abspath(args.pipe), pathlib.Path(tempfile.mkdtemp(dir=args.folder))
    try:
        source = temp / "big.csv"
        big_file(source, args.gb)
        project(temp / "plan", source)
        best = {"b3sum": 1e9, "pipe, first": 1e9, "pipe, second": 1e9}
        stats = temp / "plan/cache/stat-cache.json"
        time.sleep(3)  # `pipe` does not trust the stat of a file that was just written.
        for _ in range(args.times):
            best["b3sum"] = min(best["b3sum"], timed([args.b3sum, str(source)], temp))
            stats.unlink(missing_ok=True)
            best["pipe, first"] = min(best["pipe, first"], timed([pipe, "plan", "p.toml"], temp / "plan"))
            for _ in range(args.times):
                best["pipe, second"] = min(best["pipe, second"], timed([pipe, "plan", "p.toml"], temp / "plan"))
        size = source.stat().st_size
        source.unlink()
        report = {
            "gb": round(size / 1e9, 2),
            "b3sum_gb_per_s": round(size / best["b3sum"] / 1e9, 2),
            "pipe_gb_per_s": round(size / best["pipe, first"] / 1e9, 2),
            "ratio": round(best["b3sum"] / best["pipe, first"], 3),
            "second_time_ms": round(best["pipe, second"] * 1e3, 2),
        }
        report.update(verify(args, pipe, temp / "verify", args.gb / 10))
        print(json.dumps(report))
    finally:
        shutil.rmtree(temp)


def verify(args, pipe, folder, gigabytes):
    """Write a cache with a corpus of random words that do not compress well, and let both check it."""
    folder.mkdir()
    with open(folder / "rows.csv", "w") as file:
        file.write("text,label\n")
        for i in range(int(gigabytes * 1e9 / 1050)):
            file.write(f"{i} {os.urandom(512).hex()},{'ab'[i % 2]}\n")
    project(folder / "p", "../rows.csv")
    (folder / "p/p.toml").write_text((folder / "p/p.toml").read_text().replace("../rows.csv", str(folder / "rows.csv")))
    timed([pipe, "run", "p.toml"], folder / "p")
    files = objects(folder / "p")
    size = sum(os.path.getsize(path) for path in files)
    ours = theirs = 1e9
    for _ in range(args.times):
        theirs = min(theirs, timed([args.b3sum, *files], folder))
        ours = min(ours, timed([pipe, "cache", "verify"], folder / "p"))
    return {
        "verify_gb": round(size / 1e9, 3), "verify_gb_per_s": round(size / ours / 1e9, 2),
        "verify_b3sum_gb_per_s": round(size / theirs / 1e9, 2), "verify_ratio": round(theirs / ours, 3),
    }


if __name__ == "__main__":
    main()
