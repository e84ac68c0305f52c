//! The model card: `README.md` of a model folder, as the Hub shows it. The same model has the same card.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::lineage::{Lineage, Rows, Scores, Step};
use pipe_ml::hub;
use pipe_ml::model::Config;
use pipe_ml::model::head::HeadKind;
use pipe_ml::text::data::Cleaning;

/// What a card says, from the files of a folder.
pub struct Card<'a> {
    lineage: &'a Lineage,
    config: Config,
    cleaning: Option<Cleaning>,
    is_onnx: bool,
}

impl<'a> Card<'a> {
    const FILE: &'static str = "README.md";

    pub fn of(lineage: &'a Lineage, dir: &Path) -> Result<Self> {
        let is_onnx = dir.join("model.onnx").is_file();
        Ok(Self { lineage, config: Config::open(dir)?, cleaning: Cleaning::open(dir)?, is_onnx })
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::FILE);
        std::fs::write(&path, self.text()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self) -> String {
        [self.front_matter(), self.opening(), self.labels(), self.scores(), self.texts(), self.steps()].concat()
    }

    /// The last step that trained, with its number from 1.
    fn trained(&self) -> Option<(usize, &Step)> {
        let mut steps = self.lineage.steps.iter().enumerate();
        steps.rfind(|(_, step)| step.rows.is_some()).map(|(at, step)| (at + 1, step))
    }

    /// The scores of the model as it is: those of a step that later ones changed are not.
    fn current_scores(&self) -> Option<&Scores> {
        self.trained().filter(|(number, _)| *number == self.lineage.steps.len())?.1.scores.as_ref()
    }

    /// The metadata that the Hub reads.
    fn front_matter(&self) -> String {
        let mut yaml = String::from("---\nlicense: unknown # fill in, such as apache-2.0\n");
        yaml += "# language: en # fill in: pipe does not know it\n";
        let library = if self.is_onnx { "onnx" } else { "transformers" };
        if self.is_onnx || self.config.head() == HeadKind::Standard {
            let _ = writeln!(yaml, "library_name: {library}");
        }
        yaml += "pipeline_tag: text-classification\n";
        if let Some((name, _)) = self.lineage.base.as_deref().and_then(on_the_hub) {
            let changes = |kinds: &[&str]| self.lineage.steps.iter().any(|step| kinds.contains(&step.kind.as_str()));
            let is_smaller = changes(&["quantize", "convert"]);
            let relation = if is_smaller { "quantized" } else { "finetune" };
            let _ = writeln!(yaml, "base_model: {}", quoted(name));
            if !self.lineage.steps.is_empty() {
                let _ = writeln!(yaml, "base_model_relation: {relation}");
            }
        }
        yaml += "tags:\n- text-classification\n";
        for step in &self.lineage.steps {
            let tag = match step.kind.as_str() {
                "lora" | "merge" => "lora",
                "prune" => "pruned",
                "quantize" => "quantized",
                "distill" => "distilled",
                "convert" => "onnx",
                _ => continue,
            };
            if !yaml.lines().any(|line| line.strip_prefix("- ") == Some(tag)) {
                let _ = writeln!(yaml, "- {tag}");
            }
        }
        if let Some(scores) = self.current_scores() {
            yaml += "metrics:\n- accuracy\n- f1\nmodel-index:\n- name: text-classifier\n  results:\n";
            yaml += "  - task:\n      type: text-classification\n    dataset:\n      type: custom\n";
            let _ = writeln!(
                yaml,
                "      name: {}\n      split: validation",
                quoted("the training data's validation rows")
            );
            yaml += "    metrics:\n";
            for (name, kind, value) in scores.listed() {
                let _ = writeln!(yaml, "    - type: {kind}\n      name: {}\n      value: {value:.4}", quoted(name));
            }
        }
        yaml + "---\n\n"
    }

    fn reads_pairs(&self) -> bool {
        self.cleaning.as_ref().is_some_and(|cleaning| cleaning.pairs)
    }

    fn opening(&self) -> String {
        let labels = self.config.labels();
        let input = if self.reads_pairs() { "a pair of texts" } else { "a text" };
        let mut text = format!("# Text classifier: {}\n\n", escaped(&pipe_ml::model::shortened(labels)));
        let _ = writeln!(
            text,
            "A `{}` model with {} layers that gives {input} one of {} labels. Made with pipe: {}.\n",
            self.config.model_type(),
            self.config.layers(),
            labels.len(),
            escaped(&self.lineage.describe())
        );
        if self.is_onnx {
            let types = self.reads_pairs() && self.config.token_types() > 1;
            let inputs = if types {
                "`input_ids`, `attention_mask` and `token_type_ids`"
            } else {
                "`input_ids` and `attention_mask`"
            };
            let _ =
                writeln!(text, "`model.onnx` takes {inputs} and gives `logits`, in the order of the labels below.\n");
        } else if self.config.head() == HeadKind::Mlp {
            text += "Its head has three layers, which `transformers` does not know: use `pipe predict`.\n\n";
        } else {
            let call = match self.reads_pairs() {
                true => r#"classify({"text": "a text", "text_pair": "its second text"}, top_k=None)"#,
                false => r#"classify(["a text"], top_k=None)"#,
            };
            let _ = writeln!(
                text,
                "```python\nfrom transformers import pipeline\n\nclassify = pipeline(\"text-classification\", model=\"THIS_FOLDER\")\n\
                 {call}\n```\n"
            );
            if self.config.quantization().is_some() {
                text += "`transformers` needs the library `compressed-tensors` for these weights.\n\n";
            }
        }
        text
    }

    /// The labels, and the rows of each that the last training was given.
    fn labels(&self) -> String {
        let rows = self.trained().and_then(|(_, step)| step.rows.as_ref());
        let Some(Rows { train, validation, test, .. }) = rows else {
            let mut text = String::from("## Labels\n\n| id | label |\n| --- | --- |\n");
            for (id, label) in self.config.labels().iter().enumerate() {
                let _ = writeln!(text, "| {id} | {} |", escaped(label));
            }
            return text + "\n";
        };
        let mut text = String::from(
            "## Labels and rows\n\n| id | label | training rows | validation rows | test rows |\n| --- | --- | ---: | ---: | ---: |\n",
        );
        let count = |rows: &[u64], id: usize| rows.get(id).copied().unwrap_or(0);
        for (id, label) in self.config.labels().iter().enumerate() {
            let (a, b, c) = (count(train, id), count(validation, id), count(test, id));
            let _ = writeln!(text, "| {id} | {} | {a} | {b} | {c} |", escaped(label));
        }
        let sum = |rows: &[u64]| rows.iter().sum::<u64>();
        let _ = writeln!(text, "| | all | {} | {} | {} |\n", sum(train), sum(validation), sum(test));
        text
    }

    fn scores(&self) -> String {
        let trained = self.trained().and_then(|(number, step)| Some((number, step.scores.as_ref()?)));
        let Some((number, scores)) = trained else {
            return "## Scores\n\nNone are known: a stage of kind `evaluate` measures them.\n\n".into();
        };
        let mut text = format!(
            "## Scores\n\nOn the {} validation rows, after epoch {}. This evaluation was chosen because it was the best on these \
             rows, so expect a little less on others.",
            scores.rows,
            plain(scores.epoch)
        );
        if number < self.lineage.steps.len() {
            let _ = write!(text, " They are those of step {number} below; the steps after it changed the model.");
        }
        text += "\n\n| metric | value |\n| --- | ---: |\n";
        for (name, _, value) in scores.listed() {
            let _ = writeln!(text, "| {name} | {value:.4} |");
        }
        text + "\n"
    }

    fn texts(&self) -> String {
        let Some(cleaning) = &self.cleaning else { return String::new() };
        let done = cleaning.describe();
        if done.is_empty() {
            return "## Texts\n\nTexts were used as they are.\n\n".into();
        }
        format!(
            "## Texts\n\nBefore training, texts were cleaned: {}. `{}` has the settings. `pipe predict` does the same; other programs \
             have to, or some predictions differ.\n\n",
            escaped(&done),
            Cleaning::FILE
        )
    }

    fn steps(&self) -> String {
        let mut text = String::from("## How it was made\n\n");
        if let Some(base) = &self.lineage.base {
            let shown = match on_the_hub(base) {
                Some((name, None)) => format!("[{name}](https://huggingface.co/{name})"),
                Some((name, Some(revision))) => {
                    format!("[{name}](https://huggingface.co/{name}/tree/{revision}), {revision}")
                }
                None => format!("`{base}`"),
            };
            let _ = writeln!(text, "Base model: {shown}\n");
        } else {
            text += "The base model is not known.\n\n";
        }
        for (at, step) in self.lineage.steps.iter().enumerate() {
            let _ = writeln!(text, "{}. `{}`", at + 1, step.kind);
            for note in &step.notes {
                let _ = writeln!(text, "   - {}", escaped(note));
            }
            text += "\n   ```toml\n";
            for (name, value) in &step.settings {
                let _ = writeln!(text, "   {name} = {}", toml(value));
            }
            text += "   ```\n\n";
        }
        text.trim_end().to_owned() + "\n"
    }
}

/// The repository and the revision of `hf:OWNER/NAME@REVISION`.
fn on_the_hub(base: &str) -> Option<(&str, Option<&str>)> {
    let name = base.strip_prefix("hf:").filter(|_| hub::is_reference(base))?;
    Some(name.split_once('@').map_or((name, None), |(name, revision)| (name, Some(revision))))
}

/// A string in YAML; JSON's strings are YAML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Text that Markdown shows as it is, on one line.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' => out.extend(['\\', letter]),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

fn plain(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value as a pipeline file has it.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(all) => format!("[{}]", all.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(all) => {
            let all: Vec<String> = all.iter().map(|(name, value)| format!("{name} = {}", toml(value))).collect();
            format!("{{ {} }}", all.join(", "))
        }
        other => other.to_string(),
    }
}

impl Lineage {
    /// Write `lineage.json` and the model card into a model artifact, whose other files are there.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(Self::FILE);
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Card::of(self, dir)?.write(dir)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn card(lineage: &Lineage) -> String {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"model_type": "bert", "num_hidden_layers": 2, "id2label": {"0": "a|b", "1": "good"}}"#;
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        Cleaning { collapse_whitespace: true, ..Cleaning::default() }.write(dir.path()).unwrap();
        Card::of(lineage, dir.path()).unwrap().text()
    }

    fn step(kind: &str) -> Step {
        let settings = BTreeMap::from([("x".into(), serde_json::json!({ "given": [1.0, 2.5], "name": "n" }))]);
        Step { kind: kind.into(), settings, rows: None, scores: None, notes: Vec::new() }
    }

    fn lineage() -> Lineage {
        let rows = Rows {
            labels: vec!["a|b".into(), "good".into()],
            train: vec![70, 30],
            validation: vec![7, 3],
            test: vec![0, 0],
        };
        let scores = Scores { rows: 10, epoch: 2.5, accuracy: 0.9, macro_f1: 0.85, macro_auc: None, loss: 0.3 };
        Lineage {
            base: Some("hf:some/base@v2".into()),
            steps: vec![Step { rows: Some(rows), scores: Some(scores), ..step("train") }],
        }
    }

    #[test]
    fn a_card_says_data_settings_scores_and_origin() {
        let text = card(&lineage());
        for part in [
            "---\nlicense: unknown # fill in, such as apache-2.0\n",
            "\npipeline_tag: text-classification\nbase_model: \"some/base\"\nbase_model_relation: finetune\n",
            "    - type: f1\n      name: \"macro F1\"\n      value: 0.8500\n",
            "# Text classifier: a\\|b, good\n",
            "| 0 | a\\|b | 70 | 7 | 0 |\n| 1 | good | 30 | 3 | 0 |\n| | all | 100 | 10 | 0 |\n",
            "On the 10 validation rows, after epoch 2.5.",
            "| accuracy | 0.9000 |\n",
            "texts were cleaned: white space collapsed.",
            "Base model: [some/base](https://huggingface.co/some/base/tree/v2), v2\n",
            "1. `train`\n\n   ```toml\n   x = { given = [1.0, 2.5], name = \"n\" }\n   ```\n",
        ] {
            assert!(text.contains(part), "{part}\n\n{text}");
        }
        assert_eq!(card(&lineage()), text);
    }

    #[test]
    fn the_card_of_a_model_of_pairs_shows_how_to_give_both_texts() {
        let dir = tempfile::tempdir().unwrap();
        let config = r#"{"model_type": "bert", "num_hidden_layers": 2, "id2label": {"0": "no", "1": "yes"}}"#;
        std::fs::write(dir.path().join("config.json"), config).unwrap();
        Cleaning { pairs: true, ..Cleaning::default() }.write(dir.path()).unwrap();
        let lineage = lineage();
        let text = || Card::of(&lineage, dir.path()).unwrap().text();
        assert!(text().contains("with 2 layers that gives a pair of texts one of 2 labels."), "{}", text());
        assert!(
            text().contains(
                "\nclassify({\"text\": \"a text\", \"text_pair\": \"its second text\"}, top_k=None)\n```\n\n"
            )
        );
        assert!(text().contains("## Texts\n\nTexts were used as they are.\n"), "{}", text());
        std::fs::write(dir.path().join("model.onnx"), "").unwrap();
        assert!(text().contains("takes `input_ids`, `attention_mask` and `token_type_ids` and gives"), "{}", text());
    }

    #[test]
    fn scores_of_a_model_that_was_changed_afterwards_are_not_its_own() {
        let lineage = lineage().then(step("quantize").note("0.27 of the size"));
        let text = card(&lineage);
        assert!(!text.contains("model-index") && text.contains("base_model_relation: quantized\n"), "{text}");
        assert!(text.contains("They are those of step 1 below; the steps after it changed the model."), "{text}");
        assert!(text.contains("2. `quantize`\n   - 0.27 of the size\n"), "{text}");
        assert!(text.contains("Made with pipe: train from hf:some/base@v2, then quantize."), "{text}");
    }

    #[test]
    fn a_model_of_unknown_origin_has_a_card_too() {
        let text = card(&Lineage::default());
        assert!(text.contains("The base model is not known.") && text.contains("None are known"), "{text}");
        assert!(!text.contains("base_model"), "{text}");
    }
}
