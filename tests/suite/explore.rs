//! What users see of a corpus through `explore`, and of dates through `preprocess`.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::project::{Project, ROWS};

const LOOK: &str =
    "[stage.look]\nuse = \"explore\"\nin.corpus = \"corpus\"\nin.tokens = \"tokens\"\nexport = \"out\"\n";

fn seen(p: &Project) -> Value {
    serde_json::from_slice(&fs::read(p.path("out/explore.json")).unwrap()).unwrap()
}

#[test]
fn a_corpus_is_counted_and_drawn() {
    let p = Project::new();
    p.write("p.toml", &format!("{ROWS}{LOOK}"));
    let said = p.run_file("p.toml");
    let seen = seen(&p);
    let mut words: Vec<usize> = Vec::new();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let (train, test) =
        (fs::read_to_string(p.path("train.csv")).unwrap(), fs::read_to_string(p.path("test.tsv")).unwrap());
    for line in train.lines().skip(1).chain(test.lines().skip(1)) {
        let (text, label) = line.rsplit_once([',', '\t']).unwrap();
        words.push(text.split_whitespace().count());
        *counts.entry(label).or_default() += 1;
    }
    words.sort_unstable();
    assert_eq!(seen["rows"], words.len());
    let all = &seen["lengths"][0]["all"];
    assert_eq!(
        (&all["median"], &all["max"]),
        (&words[words.len().div_ceil(2) - 1].into(), &words[words.len() - 1].into())
    );
    let sum = |label: usize| -> u64 {
        seen["splits"].as_array().unwrap().iter().map(|split| split["labels"][label].as_u64().unwrap()).sum()
    };
    assert_eq!((seen["labels"][0].as_str(), sum(0), sum(1)), (Some("cross"), counts["cross"], counts["happy"]));
    // Tokens are as many as those that `tokenize` counted.
    let lengths = fs::read(p.folder("p.toml", "tokens").join("lengths.json")).unwrap();
    let lengths: Value = serde_json::from_slice(&lengths).unwrap();
    let longest = ["train", "validation", "test"].map(|split| lengths[split]["max"].as_u64().unwrap());
    assert_eq!(seen["lengths"][1]["all"]["max"].as_u64(), longest.into_iter().max());
    assert!(said.contains("rows are cut at 32"), "{said}");
    let page = fs::read_to_string(p.path("out/explore.md")).unwrap();
    assert!(page.contains("No row has a date, so there is no calendar"), "{page}");
    let pictures: Vec<&str> =
        page.split("](").skip(1).filter_map(|rest| rest.split_once(".svg)").map(|(name, _)| name)).collect();
    assert!(pictures.len() >= 5 && !pictures.contains(&"calendar"), "{pictures:?}");
    for name in pictures {
        let svg = fs::read_to_string(p.path(&format!("out/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{name}");
    }
    for name in ["labels", "lengths", "typical-words", "word-cloud", "duplicates"] {
        assert!(p.path(&format!("out/{name}.csv")).is_file(), "{name}");
    }
}

const DATED: &str = r#"
[stage.corpus]
use = "preprocess"
sources = [{ path = "dated.csv", date = "when"FORMAT }, { path = "test.csv", split = "test" }]
validation = 0
[stage.look]
use = "explore"
in.corpus = "corpus"
export = "out"
"#;

fn dated(format: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &DATED.replace("FORMAT", format));
    p.write(
        "dated.csv",
        "text,label,when\nthe first of the texts that are here today,a,2020-03-16\nquite another one,b,16.03.2020\n\
         a third one,b,\na fourth text,a,2020-03-18T10:00:00Z\n",
    );
    p.write("test.csv", "text,label\nThe first of the texts that are here now,a\nfive,b\n");
    p
}

#[test]
fn dates_are_kept_and_those_that_cannot_be_read_are_named() {
    let p = dated("");
    let said = p.run_file("p.toml");
    let warning = "warn corpus  dated.csv: 1 date of 3 cannot be read as ISO 8601, RFC 2822, Twitter's form or epoch seconds: \
                   `16.03.2020` (dated.csv:3); the rows stay, without a date\n";
    assert!(said.contains(warning), "{said}");
    let days = &seen(&p)["days"];
    assert_eq!((days["first"].as_str(), days["last"].as_str()), (Some("2020-03-16"), Some("2020-03-18")));
    assert_eq!((days["rows"].as_u64(), days["undated"].as_u64()), (Some(2), Some(4)));
    assert_eq!(fs::read_to_string(p.path("out/days.csv")).unwrap(), "day,rows\n2020-03-16,1\n2020-03-18,1\n");
    assert!(fs::read_to_string(p.path("out/explore.md")).unwrap().contains("![calendar](calendar.svg)"));
    let p = dated(", date-format = \"%d.%m.%Y\"");
    let said = p.run_file("p.toml");
    assert!(said.contains("2 dates of 3 cannot be read as `%d.%m.%Y`: `2020-03-16` (dated.csv:2), "), "{said}");
}

#[test]
fn a_format_without_a_day_and_a_column_that_is_not_there_are_errors() {
    let p = dated(", date-format = \"%d.%m.\"");
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert!(code == 2 && err.contains("date-format is `%d.%m.`, but it does not tell year, month and day"), "{err}");
    let p = dated("");
    p.write("p.toml", &DATED.replace("FORMAT", "").replace("\"when\"", "\"wenn\""));
    let err = p.failure("corpus");
    assert!(err.contains("no column `wenn` for the date") && err.contains("did you mean date = \"when\"?"), "{err}");
}

#[test]
fn leaks_are_a_warning() {
    let p = dated("");
    p.write("p.toml", &DATED.replace("FORMAT", "").replace("use = \"explore\"", "use = \"explore\"\nnear = 0.6"));
    let said = p.run_file("p.toml");
    let warning =
        "warn look    1 training row is the same as a validation or test row, or nearly: scores come out too good";
    assert!(said.contains(warning), "{said}");
    let pairs = fs::read_to_string(p.path("out/duplicates.csv")).unwrap();
    assert!(
        pairs.lines().nth(1).is_some_and(|line| line.starts_with("0.7500,train,dated:1,a,test,test:1,a,")),
        "{pairs}"
    );
}

#[test]
fn wrong_values_and_the_tokens_of_another_corpus_are_errors_before_the_first_stage() {
    let p = Project::new();
    let other = "[stage.other]\nuse = \"preprocess\"\nsources = [{ path = \"train.csv\" }]\n";
    p.write("p.toml", &format!("{ROWS}{other}{}", LOOK.replace("in.corpus = \"corpus\"", "in.corpus = \"other\"")));
    let (code, _, err) = p.pipe(&["run", "p.toml"]);
    assert!(code != 0 && err.contains("`tokens` has the tokens of `corpus`, not of `other`"), "{err}");
    p.write("p.toml", &format!("{ROWS}{LOOK}near = 0\n"));
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert!(code == 2 && err.contains("near is 0; it must be above 0 and at most 1"), "{err}");
}
