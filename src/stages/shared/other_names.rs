//! What the Hugging Face `Trainer`, its example scripts and PEFT call the parameters of the kinds.

use pipe_engine::text::other_names::OtherName;

const fn is(theirs: &'static str, ours: &'static str) -> OtherName {
    OtherName::of(theirs, ours)
}

const fn say(theirs: &'static str, advice: &'static str) -> OtherName {
    OtherName::advice(theirs, advice)
}

const EVALUATION: &str = "evaluation is at the end of each epoch, or after every `eval-steps` optimizer steps; without validation rows there is none";
const CHECKPOINTS: &str =
    "checkpoints are written every `checkpoint-minutes`, and an interrupted run continues from the last";
const BEST: &str = "leave it out: the model of the best evaluation is kept, by `metric`";
const SHOWN: &str = "leave it out: progress is always shown, and `pipe history` and `pipe show --curve` keep it";
const LENGTH: &str = "set the length where texts become tokens: `use = \"tokenize@128\"`";
const DATA: &str =
    "name the files in the `sources` of a `preprocess` stage, and wire its tokens: `in.tokens = \"tokens\"`";
const DEVICE: &str = "choose the device of a run: `pipe run FILE --device cpu`";
const ADAMW: &str = "leave it out: the optimizer is AdamW";
const BF16: &str = "write `precision = \"bf16\"`; float16 is not offered";

/// Of all kinds that train.
const TRAINING: [OtherName; 76] = [
    is("num_train_epochs", "epochs"),
    is("num_epochs", "epochs"),
    is("per_device_train_batch_size", "batch-size"),
    is("per_gpu_train_batch_size", "batch-size"),
    is("train_batch_size", "batch-size"),
    is("batch_size", "batch-size"),
    is("gradient_accumulation_steps", "accumulation"),
    is("learning_rate", "learning-rate"),
    is("lr", "learning-rate"),
    is("weight_decay", "weight-decay"),
    say("adam_beta1", "write both in `betas = [0.9, 0.999]`"),
    say("adam_beta2", "write both in `betas = [0.9, 0.999]`"),
    is("adam_epsilon", "epsilon"),
    is("lr_scheduler_type", "schedule"),
    is("lr_scheduler", "schedule"),
    say("lr_scheduler_kwargs", "`cycles` are the restarts of `schedule = \"cosine-with-restarts\"`"),
    is("num_cycles", "cycles"),
    is("warmup_steps", "warmup-steps"),
    is("num_warmup_steps", "warmup-steps"),
    is("warmup_ratio", "warmup-ratio"),
    is("max_grad_norm", "clip"),
    say("eval_strategy", EVALUATION),
    say("evaluation_strategy", EVALUATION),
    say("do_eval", EVALUATION),
    say("do_train", "leave it out: a stage trains if its result is not in the cache"),
    say("do_predict", "add a stage `use = \"evaluate\"`, which scores and predicts the test rows"),
    is("eval_steps", "eval-steps"),
    is("metric_for_best_model", "metric"),
    say("greater_is_better", BEST),
    say("load_best_model_at_end", BEST),
    is("early_stopping_patience", "patience"),
    is("early_stopping_threshold", "threshold"),
    say("group_by_length", "leave it out: `padding = \"bucketed\"`, the default, batches rows of similar length"),
    say("length_column_name", "leave it out: lengths are known"),
    say("pad_to_max_length", "write `padding = { fixed = 128 }`; the default, `bucketed`, computes less"),
    say("bf16", BF16),
    say("fp16", BF16),
    say("tf32", BF16),
    is("gradient_checkpointing", "gradient-checkpointing"),
    is("per_device_eval_batch_size", "eval-batch-size"),
    is("per_gpu_eval_batch_size", "eval-batch-size"),
    is("eval_batch_size", "eval-batch-size"),
    say("set_per_process_memory_fraction", "write `memory-fraction`"),
    say("save_strategy", CHECKPOINTS),
    say("save_steps", CHECKPOINTS),
    say("save_total_limit", CHECKPOINTS),
    say("save_only_model", CHECKPOINTS),
    say("resume_from_checkpoint", CHECKPOINTS),
    say("overwrite_output_dir", "leave it out: results are in the cache; `export = \"FOLDER\"` puts one into a folder"),
    say("output_dir", "write `export = \"FOLDER\"`"),
    say("logging_dir", SHOWN),
    say("logging_steps", SHOWN),
    say("logging_strategy", SHOWN),
    say("logging_first_step", SHOWN),
    say("disable_tqdm", SHOWN),
    say("report_to", SHOWN),
    say("run_name", "the name of the pipeline is `name`, at the top of the file"),
    say("max_steps", "write `epochs`: whole passes over the training rows"),
    say("optim", ADAMW),
    say("optimizer", ADAMW),
    say("data_seed", "write `seed`, in this stage or at the top of the file"),
    say("dataloader_num_workers", "leave it out: batches are made while the model computes"),
    say("dataloader_drop_last", "leave it out: every training row is used in each epoch"),
    say("remove_unused_columns", "leave it out: tokens have no unused columns"),
    say("no_cuda", DEVICE),
    say("use_cpu", DEVICE),
    say("device", DEVICE),
    say("model_max_length", LENGTH),
    say("max_seq_length", LENGTH),
    say("max_length", LENGTH),
    say("train_file", DATA),
    say("dataset_name", DATA),
    say("num_labels", "leave it out: the labels are those of the corpus"),
    is("model_name_or_path", "base"),
    is("model_name", "base"),
    say("push_to_hub", "leave it out; `export = \"FOLDER\"` writes a folder that can be uploaded"),
];

/// Of the kinds that train with a loss on the labels.
const LOSS: [OtherName; 3] = [
    is("label_smoothing_factor", "label-smoothing"),
    is("label_smoothing", "label-smoothing"),
    is("class_weight", "class-weights"),
];

/// Of PEFT's `LoraConfig`.
const PEFT: [OtherName; 8] = [
    is("r", "rank"),
    is("lora_r", "rank"),
    is("lora_alpha", "alpha"),
    is("lora_dropout", "dropout"),
    is("target_modules", "targets"),
    is("use_rslora", "rslora"),
    is("modules_to_save", "modules-to-save"),
    say("task_type", "leave it out: the task is to classify texts"),
];

pub const TRAIN: &[OtherName] = &joined::<79>(&[&TRAINING, &LOSS]);
pub const LORA: &[OtherName] = &joined::<87>(&[&TRAINING, &LOSS, &PEFT]);
/// `distill`, and `prune` for its recovery.
pub const STUDENT: &[OtherName] = &TRAINING;
pub const TOKENIZE: &[OtherName] = &[
    is("max_seq_length", "max-length"),
    is("max_length", "max-length"),
    is("model_max_length", "max-length"),
    is("tokenizer_name", "tokenizer"),
    is("model_name_or_path", "tokenizer"),
    say("truncation", "leave it out: texts are cut at `max-length` tokens, and a note counts them"),
    say("padding", "leave it out: tokens are stored without padding"),
    say("pad_to_max_length", "leave it out: tokens are stored without padding"),
];
pub const PREPROCESS: &[OtherName] = &[
    say("train_file", SOURCES),
    say("validation_file", SOURCES),
    say("test_file", SOURCES),
    say("data_files", SOURCES),
    say("dataset_name", SOURCES),
    say("text_column_name", COLUMNS),
    say("text_column", COLUMNS),
    say("label_column_name", COLUMNS),
    say("label_column", COLUMNS),
    say("label2id", "list the names in the order of their ids: `labels = [\"negative\", \"positive\"]`"),
    say("id2label", "list the names in the order of their ids: `labels = [\"negative\", \"positive\"]`"),
    say("class_names", "list the names in the order of their ids: `labels = [\"negative\", \"positive\"]`"),
    say(
        "test_size",
        "`validation` is the share of the training rows that is set aside; test rows are a source of their own",
    ),
    say("validation_split_percentage", "write `validation = 0.1`, a share"),
    say("max_train_samples", "write `limit` in the source"),
];
const SOURCES: &str = "write `sources = [{ path = \"train.csv\" }, { path = \"test.csv\", split = \"test\" }]`";
const COLUMNS: &str =
    "write `text` and `label` in the source: `{ path = \"train.csv\", text = \"review\", label = \"sentiment\" }`";

/// All names of some lists as one list.
const fn joined<const N: usize>(lists: &[&[OtherName]]) -> [OtherName; N] {
    let mut all = [TRAINING[0]; N];
    let (mut list, mut at) = (0, 0);
    while list < lists.len() {
        let mut item = 0;
        while item < lists[list].len() {
            all[at] = lists[list][item];
            item += 1;
            at += 1;
        }
        list += 1;
    }
    all
}
