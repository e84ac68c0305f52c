"""Writes the fixture of log-odds with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008) for `explore`.

Only Python's standard library, written from the paper's equations 15, 16, 20 and 22:

    python3 scripts/make_explore_fixtures.py
"""

import json
import math
import pathlib
import random
from collections import Counter

PRIOR, RAREST, MOST = 1000.0, 5, 5
OUT = pathlib.Path(__file__).parent.parent / "src/ml/text/explore/testdata/log_odds.json"


def main():
    random.seed(42)
    common = "the a of to and in is it shop food price".split()
    own = ["awful panic crisis empty".split(), "news update report store".split(), "thanks great help safe".split()]
    texts = []
    for row in range(90):
        label = random.choices(range(3), [5, 3, 2])[0]
        words = random.choices(common, range(len(common), 0, -1), k=8) + random.choices(own[label], k=3)
        words += random.choices(own[random.randrange(3)], k=1)
        random.shuffle(words)
        texts.append((" ".join(words), label))
    counts = [Counter() for _ in range(3)]
    for text, label in texts:
        counts[label].update(text.split())
    everywhere = sum(counts, Counter())
    total = sum(everywhere.values())
    rows = []
    for label in range(3):
        here, n_here = counts[label], sum(counts[label].values())
        n_elsewhere = total - n_here
        found = []
        for word, sum_of_word in everywhere.items():
            if sum_of_word < RAREST or here[word] == 0:
                continue
            alpha = PRIOR * sum_of_word / total
            y_i, y_j = here[word], sum_of_word - here[word]
            omega_i = (y_i + alpha) / (n_here + PRIOR - y_i - alpha)
            omega_j = (y_j + alpha) / (n_elsewhere + PRIOR - y_j - alpha)
            delta = math.log(omega_i) - math.log(omega_j)
            z = delta / math.sqrt(1 / (y_i + alpha) + 1 / (y_j + alpha))
            if z > 0:
                found.append((label, word, y_i, y_j, delta, z))
        rows += sorted(found, key=lambda row: (-row[5], row[1]))[:MOST]
    OUT.write_text(json.dumps({"texts": texts, "words": rows}, indent=0) + "\n")


main()
