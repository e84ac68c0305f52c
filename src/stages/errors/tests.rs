//! Tests with fixed predictions: numbers, messages and pictures.

use super::kind::Errors;
use super::rows::{Rows, Variant};
use super::summary::Summary;
use super::{markdown, pictures, tables};
use pipe_engine::contract::kind::{Labels, Stage};
use pipe_ml::judge::errors::disagree::disagreements;
use pipe_ml::judge::errors::scored::Scored;
use pipe_ml::text::data::{Corpus, Example, Report};

fn example(id: &str, text: &str, label: u32) -> Example {
    Example {
        id: id.to_owned(),
        text: text.to_owned(),
        pair: None,
        label,
        source: "tweets".to_owned(),
        day: Some(18_337),
        made: None,
    }
}

fn corpus() -> Corpus {
    let test = vec![
        example("test:1", "not a good day | see https://t.co/a", 0),
        example("test:2", "a good day", 1),
        example("test:3", "what a day <b>", 1),
        example("test:4", "the best day of my life", 0),
    ];
    Corpus {
        labels: vec!["bad".to_owned(), "good".to_owned()],
        train: vec![example("train:1", "a bad day", 0)],
        validation: Vec::new(),
        test,
        report: Report::default(),
        cleaning: None,
    }
}

/// The probability of `good`.
fn scored(rows: &[(&str, u32, f32)]) -> Scored {
    Scored {
        ids: rows.iter().map(|(id, ..)| (*id).to_owned()).collect(),
        labels: rows.iter().map(|(_, label, _)| *label).collect(),
        predicted: rows.iter().map(|(.., good)| u32::from(*good > 0.5)).collect(),
        scores: rows.iter().flat_map(|(.., good)| [1.0 - good, *good]).collect(),
        classes: 2,
    }
}

fn predictions() -> Scored {
    scored(&[("test:4", 0, 0.96875), ("test:1", 0, 0.25), ("test:2", 1, 0.875), ("test:3", 1, 0.375)])
}

#[test]
fn the_files_of_fixed_predictions() {
    let corpus = corpus();
    let rows = Rows::of(&corpus, predictions()).unwrap();
    let other = scored(&[("test:1", 0, 0.75), ("test:2", 1, 0.9), ("test:3", 1, 0.75), ("test:4", 0, 0.9)]);
    let found = disagreements(&rows.scored, &other).unwrap();
    let variants = [Variant { name: "int8".into(), scored: other, found }];
    let summary = Summary::of(&rows, &variants);
    assert_eq!(
        summary.notes(),
        [
            "2 of 4 rows are wrong (50.0 % right); suspected labels: 2",
            "worst slice: 4 words (length), 0 of 1 rows right (0.0 %), which may be chance",
            "4 slices have no rows: with mention, with hashtag, with emoji, with capitals",
            "`int8`: 1 lost, 1 gained, 0 wrong in another way",
        ]
    );
    let dir = tempfile::tempdir().unwrap();
    tables::errors(&rows, &summary.suspicion).write(dir.path(), "errors").unwrap();
    tables::suspects(&rows, &summary.suspicion).write(dir.path(), "suspects").unwrap();
    tables::disagreements(&rows, &variants).write(dir.path(), "disagreements").unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(
        read("errors.csv"),
        "id,text,label,predicted,confidence,label_score,margin,suspect,source,date,words,url,mention,hashtag,emoji,negation,capitals\n\
         test:4,the best day of my life,bad,good,0.96875,0.03125,0.03125,true,tweets,2020-03-16,6,false,false,false,false,false,false\n\
         test:3,what a day <b>,good,bad,0.625,0.375,0.375,true,tweets,2020-03-16,4,false,false,false,false,false,false\n"
    );
    assert_eq!(
        read("suspects.csv"),
        "id,text,label,probable_label,label_score,margin,source\n\
         test:4,the best day of my life,bad,good,0.03125,0.03125,tweets\n\
         test:3,what a day <b>,good,bad,0.375,0.375,tweets\n"
    );
    assert_eq!(
        read("disagreements.csv"),
        "variant,outcome,id,text,label,predicted,confidence,variant_predicted,variant_confidence\n\
         int8,lost,test:1,not a good day | see https://t.co/a,bad,bad,0.75,good,0.75\n\
         int8,gained,test:3,what a day <b>,good,bad,0.625,good,0.75\n"
    );
    let text = markdown::document("teacher", &rows, &variants, (&summary, 1));
    assert!(text.starts_with("# Errors of `teacher`\n\n2 of 4 rows are wrong: accuracy 0.5000, "), "{text}");
    assert!(text.contains("| test:4 | bad | good | 0.969 | the best day of my life |\n"), "{text}");
    assert!(text.contains("| int8 | 1 | 1 | 0 |\n") && text.contains("not a good day \\| see"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&summary.json("teacher").unwrap()).unwrap();
    assert_eq!(
        (&json["errors"], &json["confusion"][0][1], &json["disagreements"][0]["lost"]),
        (&2.into(), &1.into(), &1.into())
    );
    let svgs = [
        pictures::slices(&summary.slices),
        pictures::confident(&rows, 5),
        pictures::suspects(&rows, &summary.suspicion, 5),
        pictures::disagreements("teacher", &rows, &variants, 5),
    ];
    for svg in svgs {
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"), "{svg}");
        assert!(!svg.contains("<b>"), "{svg}");
    }
}

#[test]
fn rows_of_another_corpus_are_one_clear_error() {
    let corpus = corpus();
    let says = |scored: Scored| Rows::of(&corpus, scored).unwrap_err().to_string();
    let advice = "wire `in.corpus` to the corpus from which the predicted rows were tokenized";
    let unknown = [("test:1", 0, 0.5), ("a", 0, 0.5), ("b", 0, 0.5), ("c", 0, 0.5), ("d", 0, 0.5)];
    assert_eq!(
        says(scored(&unknown)),
        format!("4 of 5 predicted rows are not in the corpus: `a`, `b`, `c`, …; {advice}")
    );
    assert_eq!(
        says(scored(&[("test:1", 1, 0.5)])),
        format!("row `test:1` has the label `bad` in the corpus, but `good` in the predictions; {advice}")
    );
    assert_eq!(
        says(Scored { classes: 3, ..scored(&[("test:1", 1, 0.5)]) }),
        format!("the predictions have 3 classes, but the corpus has 2 labels (bad, good); {advice}")
    );
    assert_eq!(says(Scored::default()), "there are no predicted rows");
}

#[test]
fn training_rows_are_warned_of() {
    let corpus = corpus();
    assert_eq!(Rows::of(&corpus, predictions()).unwrap().warning(), None);
    let rows = Rows::of(&corpus, scored(&[("train:1", 0, 0.25), ("test:2", 1, 0.75)])).unwrap();
    assert_eq!(rows.notes(), ["rows: 1 training, 1 test"]);
    assert_eq!(
        rows.warning().unwrap(),
        "1 of 2 rows are training rows: a model that was trained on their labels predicts them too well, so their errors are too \
         few and suspected labels are not out-of-sample; use validation or test rows"
    );
    // A model that is always right leaves nothing to show.
    let summary = Summary::of(&rows, &[]);
    assert_eq!((summary.wrong(), summary.suspects(), summary.worst()), (0, 0, None));
    assert!(pictures::confident(&rows, 5).contains("no row is wrong"));
    assert!(pictures::suspects(&rows, &summary.suspicion, 5).contains("no label is suspected"));
    assert!(markdown::document("a", &rows, &[], (&summary, 5)).contains("0 of 0.\n\nNone.\n"));
}

#[test]
fn invalid_values_are_reported_before_anything_runs() {
    let errors = |text: &str| -> Errors { serde_json::from_str(text).unwrap() };
    let says = |text: &str| -> Vec<String> { errors(text).check().into_iter().map(|i| i.message).collect() };
    assert_eq!(says(r#"{"texts": 0}"#), ["texts is 0; it must be from 1 to 200"]);
    assert_eq!(says(r#"{"texts": 201}"#).len(), 1);
    assert_eq!(says("{}"), [""; 0]);
    let labels = Labels::from([("predictions", vec!["teacher", "int8"])]);
    let found = errors(r#"{"baseline": "techer"}"#).check_inputs(&labels).remove(0);
    assert_eq!(found.message, "the baseline `techer` is not among the models");
    assert_eq!(found.help.unwrap(), "models: teacher, int8");
}
