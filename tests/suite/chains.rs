//! Chains of compression stages, and distillation with every kind of student.

use std::fs;

use safetensors::SafeTensors;

use crate::families::{BERT, DEBERTA, base_in, tensors};
use crate::project::{Project, trained};

/// A project with a trained RoBERTa and these stages.
fn project(stages: &str) -> Project {
    let p = Project::new();
    p.write("p.toml", &format!("{}{stages}", trained(1)));
    p
}

#[test]
fn an_adapted_model_is_pruned_recovers_and_is_quantized_and_scored() {
    let p = project(
        r#"
[stage.adapted]
use = "lora@4"
in.tokens = "tokens"
base = "tiny"
epochs = 1
[stage.pruned]
use = "prune@0.5"
in.model = "adapted"
in.tokens = "tokens"
recover-epochs = 1
learning-rate = 1e-4
[stage.int8]
use = "quantize@int8"
in.model = "pruned"
in.tokens = "tokens"
[stage.scores]
use = "evaluate"
in.model = ["adapted", "pruned", "int8"]
in.tokens = "tokens"
speed-seconds = 0
"#,
    );
    assert_eq!(p.run(&["scores"]).len(), 8);
    let of = |variant: &str, name: &str| p.metrics(&format!("scores[{variant}]"))[name].as_f64().unwrap();
    let zeros = |variant: &str| of(variant, "parameters") - of(variant, "non_zero");
    assert!(zeros("pruned") > 0.2 * of("pruned", "parameters") && zeros("int8") >= zeros("pruned"));
    assert!(of("int8", "bytes") < 0.45 * of("pruned", "bytes"));
    assert!((of("int8", "loss") - of("pruned", "loss")).abs() < 0.02);
}

#[test]
fn a_student_of_another_tokenizer_and_family_is_quantized_and_scored() {
    for (config, tokenizer, family) in [(BERT, "bert", "bert."), (DEBERTA, "deberta", "deberta.")] {
        let p = project(
            r#"
[stage.others]
use = "tokenize@40"
in.corpus = "corpus"
tokenizer = "other"
[stage.student]
use = "distill"
in.teacher = "teacher"
in.teacher-tokens = "tokens"
in.tokens = "others"
student = "other"
epochs = 1
learning-rate = 2e-3
[stage.int8]
use = "quantize@int8"
in.model = "student"
in.tokens = "others"
[stage.scores]
use = "evaluate"
in.model = ["student", "int8"]
in.tokens = "others"
speed-seconds = 0
"#,
        );
        base_in("other", &p, config, tokenizer);
        assert_eq!(p.run(&[]).len(), 8);
        assert_eq!(p.run(&[]), [""; 0]);
        assert!(tensors(&p, "student").iter().any(|name| name.starts_with(family)), "{family}");
        let difference = p.metrics("scores[student]")["loss"].as_f64().unwrap()
            - p.metrics("scores[int8]")["loss"].as_f64().unwrap();
        assert!(difference.abs() < 0.02, "{family} {difference}");
        let (code, out, err) = p.pipe(&["predict", "p.toml:int8", "--text", "the queue was awful"]);
        assert!(code == 0 && out.contains("\"label\""), "{out}{err}");

        // Without its own tokens the teacher has to read the student's.
        let text = fs::read_to_string(p.path("p.toml")).unwrap();
        p.write("p.toml", &text.replace("in.teacher-tokens = \"tokens\"\n", ""));
        let (code, _, said) = p.pipe(&["plan", "p.toml"]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("help: set `in.teacher-tokens` to tokens of the teacher's tokenizer"), "{said}");
    }
}

/// A teacher model and its predictions, for students with the same tokenizer and with another.
const TWO_WAYS: &str = r#"
[stage.cached]
use = "evaluate"
in.model = "teacher"
in.tokens = "tokens"
split = "train"
speed-seconds = 0
[stage.others]
use = "tokenize@40"
in.corpus = "corpus"
tokenizer = "other"
[stage.live]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
student = "tiny"
epochs = 1
[stage.again]
use = "distill"
in.logits = "cached.predictions"
in.tokens = "tokens"
student = "tiny"
epochs = 1
[stage.other-live]
use = "distill"
in.teacher = "teacher"
in.teacher-tokens = "tokens"
in.tokens = "others"
student = "other"
epochs = 1
[stage.other-again]
use = "distill"
in.logits = "cached.predictions"
in.tokens = "others"
student = "other"
epochs = 1
matrix = { temperature = [2.0, 5.0] }
"#;

#[test]
fn cached_logits_give_the_same_student_to_the_bit_and_serve_many() {
    let p = project(TWO_WAYS);
    base_in("other", &p, BERT, "bert");
    p.run(&[]);
    // Only the model itself: predictions do not say how the teacher was made, so lineage and card differ.
    let digest = |stage: &str| {
        let mut all = p.digest(stage);
        all.retain(|(name, _)| !["README.md", "lineage.json"].contains(&name.as_str()));
        all
    };
    assert_eq!(digest("live"), digest("again"));
    assert_eq!(digest("other-live"), digest("other-again[temperature=2]"));
    assert_ne!(p.digest("other-live"), p.digest("other-again[temperature=5]"));

    // The validation batch size does not change the teacher's logits.
    let text = fs::read_to_string(p.path("p.toml")).unwrap();
    p.write("p.toml", &text.replace("[stage.live]\n", "[stage.live]\neval-batch-size = 7\n"));
    p.run(&["live", "--force", "live"]);
    let weights = |stage: &str| fs::read(p.folder("p.toml", stage).join("model.safetensors")).unwrap();
    assert!(weights("live") == weights("again"));

    // Another temperature does not run the teacher again.
    p.write("p.toml", &text.replace("[2.0, 5.0]", "[2.0, 5.0, 8.0]"));
    assert_eq!(p.run(&[]), ["other-again[temperature=8]"]);

    // Predictions on other rows are refused; the error names the missing rows.
    p.write("p.toml", &text.replace("split = \"train\"", "split = \"test\""));
    let said = p.failure("again");
    assert!(said.contains("the predictions lack 128 of the 128 train rows of the tokens, such as `train:"), "{said}");
    assert!(said.contains("the tokens lack 40 of the 40 train rows of the predictions, such as `"), "{said}");
}

#[test]
fn foreign_tokens_that_a_teacher_happens_to_know_are_refused() {
    let p = project(
        r#"
[stage.learned]
use = "tokenize@32"
in.corpus = "corpus"
learn = 400
[stage.student]
use = "distill"
in.teacher = "teacher"
in.tokens = "learned"
student = "tiny"
epochs = 1
"#,
    );
    let said = p.failure("student");
    assert!(
        said.contains(
            "the tokens were made with another tokenizer than the teacher's; they differ in the vocabulary: id "
        ),
        "{said}"
    );
    assert!(said.contains("; set `in.teacher-tokens` to tokens of the teacher's tokenizer"), "{said}");
    p.write("p.toml", &fs::read_to_string(p.path("p.toml")).unwrap().replace("\"learned\"", "\"tokens\""));
    let (code, _, err) = p.pipe(&["run", "p.toml", "student"]);
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_teachers_own_tokens_may_be_the_students() {
    let p = project(
        r#"
[stage.plain]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
epochs = 1
[stage.twice]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
in.teacher-tokens = "tokens"
epochs = 1
"#,
    );
    p.run(&[]);
    assert_eq!(p.digest("plain"), p.digest("twice"));
}

#[test]
fn hidden_states_and_attention_are_followed_and_leave_nothing_behind() {
    let p = project(
        r#"
[stage.plain]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
layers = [1]
epochs = 1
[stage.close]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
layers = [1]
epochs = 1
hidden = { loss = "cosine", weight = 2.0, layers = "last" }
attention = {}
[stage.narrow]
use = "distill"
in.teacher = "teacher"
in.tokens = "tokens"
student = "narrow"
epochs = 1
hidden = { loss = "mse" }
[stage.small]
use = "quantize@int8"
in.model = "narrow"
"#,
    );
    let config = fs::read_to_string(p.path("tiny/config.json")).unwrap();
    fs::create_dir(p.path("narrow")).unwrap();
    p.write("narrow/config.json", &config.replace("\"hidden_size\": 64", "\"hidden_size\": 32"));
    p.run(&[]);
    assert_ne!(p.digest("plain"), p.digest("close"));
    assert_eq!(tensors(&p, "plain"), tensors(&p, "close"));
    assert!(tensors(&p, "narrow").iter().all(|name| !name.contains("projection")));
    let (code, out, err) = p.pipe(&["predict", "p.toml:small", "--text", "the queue was awful"]);
    assert!(code == 0 && out.contains("\"label\""), "{out}{err}");

    p.write(
        "p.toml",
        &fs::read_to_string(p.path("p.toml")).unwrap().replace("hidden = { loss = \"mse\" }", "attention = {}"),
    );
    p.write("narrow/config.json", &config.replace("_heads\": 4", "_heads\": 2"));
    let said = p.failure("narrow");
    assert!(said.contains("the student has 2 heads and the teacher 4; remove `attention`"), "{said}");
}

#[test]
fn a_student_grows_from_a_quantized_teacher_or_a_pruned_model() {
    let p = project(
        r#"
[stage.int8]
use = "quantize@int8"
in.model = "teacher"
[stage.student]
use = "distill"
in.teacher = "int8"
in.tokens = "tokens"
layers = 1
epochs = 1
hidden = {}
[stage.pruned]
use = "prune@0.5"
in.model = "teacher"
[stage.healed]
use = "distill"
in.teacher = "teacher"
in.student = "pruned"
in.tokens = "tokens"
epochs = 1
[stage.scores]
use = "evaluate"
in.model = ["student", "healed"]
in.tokens = "tokens"
speed-seconds = 0
"#,
    );
    p.run(&[]);
    // The weights come from the teacher, not from the placeholders of its integer layers.
    let bytes = |stage: &str| fs::read(p.folder("p.toml", stage).join("model.safetensors")).unwrap();
    let (teacher, student) = (bytes("teacher"), bytes("student"));
    let weight = |bytes: &[u8]| -> Vec<f32> {
        let file = SafeTensors::deserialize(bytes).unwrap();
        let tensor = file.tensor("roberta.encoder.layer.0.intermediate.dense.weight").unwrap();
        tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let near = weight(&teacher).iter().zip(weight(&student)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(near < 0.02, "the student's weights are {near} from the teacher's");
    let config = fs::read_to_string(p.folder("p.toml", "student").join("config.json")).unwrap();
    assert!(!config.contains("quantization_config") && config.contains("\"num_hidden_layers\": 1"), "{config}");
}

#[test]
fn other_labels_on_either_side_are_refused() {
    let p = project(
        r#"
[stage.corpus2]
use = "preprocess"
sources = [{ path = "three.csv", format = "csv" }]
[stage.tokens2]
use = "tokenize@32"
in.corpus = "corpus2"
tokenizer = "tiny"
[stage.teacher2]
use = "train"
in.tokens = "tokens2"
base = "tiny"
epochs = 1
[stage.cached2]
use = "evaluate"
in.model = "teacher2"
in.tokens = "tokens2"
split = "train"
speed-seconds = 0
[stage.by-model]
use = "distill"
in.teacher = "teacher2"
in.tokens = "tokens"
[stage.by-tokens]
use = "distill"
in.teacher = "teacher"
in.teacher-tokens = "tokens2"
in.tokens = "tokens"
[stage.by-logits]
use = "distill"
in.logits = "cached2.predictions"
in.tokens = "tokens"
student = "tiny"
[stage.by-student]
use = "distill"
in.teacher = "teacher"
in.student = "teacher2"
in.tokens = "tokens"
"#,
    );
    p.write(
        "three.csv",
        &Project::csv(60).replace("day 7\",cross", "day 7\",so-so").replace("day 9\",cross", "day 9\",so-so"),
    );
    let teacher = "the teacher classifies into cross, happy, so-so, but the tokens are labelled cross, happy";
    assert!(p.failure("by-model").contains(teacher));
    let own = "the teacher's tokens are labelled cross, happy, so-so, but the tokens are labelled cross, happy;";
    assert!(p.failure("by-tokens").contains(own));
    let logits = "cached2 gives 3 logits per row, but the tokens have 2 labels: cross, happy";
    assert!(p.failure("by-logits").contains(logits));
    let student = "the student classifies into cross, happy, so-so, but the tokens are labelled cross, happy";
    assert!(p.failure("by-student").contains(student));
}

#[test]
fn rows_of_another_corpus_are_counted_and_named() {
    let p = project(
        r#"
[stage.corpus2]
use = "preprocess"
sources = [{ path = "fewer.csv", format = "csv" }]
validation = 0.2
[stage.tokens2]
use = "tokenize@32"
in.corpus = "corpus2"
tokenizer = "tiny"
[stage.student]
use = "distill"
in.teacher = "teacher"
in.teacher-tokens = "tokens2"
in.tokens = "tokens"
"#,
    );
    p.write("fewer.csv", &Project::csv(100));
    let said = p.failure("student");
    assert!(
        said.contains("the teacher's tokens lack ") && said.contains(" of the 128 train rows of the tokens"),
        "{said}"
    );
    assert!(said.contains("both must come from the train rows of one corpus"), "{said}");
}

/// The error of `pipe plan` for a `distill` stage with these lines.
fn refused(lines: &str) -> String {
    let p = project(&format!(
        "[stage.cached]\nuse = \"evaluate\"\nin.model = \"teacher\"\nin.tokens = \"tokens\"\nsplit = \"train\"\n\
         [stage.student]\nuse = \"distill\"\nin.tokens = \"tokens\"\n{lines}\n"
    ));
    let (code, _, err) = p.pipe(&["plan", "p.toml"]);
    assert_eq!(code, 2, "{err}");
    err
}

#[test]
fn what_cannot_be_distilled_is_said_before_anything_runs() {
    let cached = "in.logits = \"cached.predictions\"\n";
    let cases: &[(&str, &[&str])] = &[
        ("", &["`distill` has no teacher", "split = \"train\"", "[stage.student]"]),
        (
            "in.teacher = \"teacher\"\nin.logits = \"cached.predictions\"\nstudent = \"tiny\"",
            &["`in.teacher` and `in.logits` are both set", "in.logits = \"cached.predictions\"\n   |             ^^^^"],
        ),
        (
            &format!("{cached}student = \"tiny\"\nhidden = {{ loss = \"mse\" }}"),
            &["`hidden` needs a teacher model", "hidden = { loss = \"mse\" }\n   |          ^^^^"],
        ),
        (&format!("{cached}student = \"tiny\"\nattention = {{}}"), &["`attention` needs a teacher model"]),
        (cached, &["there is no teacher model to take the student's layers from", "in.student"]),
        (
            &format!("{cached}student = \"tiny\"\nin.teacher-tokens = \"tokens\""),
            &["`in.teacher-tokens` needs a teacher model"],
        ),
        (
            "in.teacher = \"teacher\"\nin.teacher-tokens = \"tokens\"\nhidden = {}",
            &["`hidden` compares token by token", "choose a student with the teacher's tokenizer"],
        ),
        (
            "in.teacher = \"teacher\"\nin.student = \"teacher\"\nstudent = \"tiny\"",
            &["`student` and `in.student` are both set"],
        ),
        ("in.teacher = \"teacher\"\nin.student = \"teacher\"\nlayers = 1", &["`layers` and `in.student` are both set"]),
        ("in.teacher = \"teacher\"\nlayers = [1, 0]", &["list each layer once, in ascending order"]),
        ("in.teacher = \"teacher\"\nlayers = 0", &["layers is 0"]),
        (
            "in.teacher = \"teacher\"\nlayers = \"two\"",
            &["expected a whole number, 0 or more, or a list of them, found the string"],
        ),
        ("in.teacher = \"teacher\"\nhidden = { weight = 0.0 }", &["the weight of `hidden` is 0; it must be above 0"]),
        ("in.teacher = \"teacher\"\nhidden = { los = \"mse\" }", &["no parameter `los`", "did you mean `loss`?"]),
        ("in.teacher = \"teacher\"\nhidden = { loss = \"l1\" }", &["`l1` is not one of `mse`, `cosine`"]),
        ("in.teacher = \"tokens\"", &["gets tokens where it needs a model"]),
    ];
    for (lines, said) in cases {
        let err = refused(lines);
        for words in *said {
            assert!(err.contains(words), "{lines}\n`{words}` is not in\n{err}");
        }
    }
    let p = project(
        "[stage.student]\nuse = \"distill\"\nin.teacher = \"teacher\"\nin.tokens = \"tokens\"\nlayers = [0, 2]\n",
    );
    let said = p.failure("student");
    assert!(said.contains("cannot keep the layers [0, 2]: the model has 2, numbered 0 to 1"), "{said}");
}
