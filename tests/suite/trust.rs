//! The eight guarantees of the engine, and the tests that check them.
//!
//! 1. A result is committed only whole; a crash at any point loses no committed result and corrupts nothing.
//!    - `faults::a_process_that_dies_at_any_step_loses_and_corrupts_nothing`
//!    - `faults::a_power_cut_at_any_step_loses_no_result_and_corrupts_nothing`
//!    - `faults::a_full_or_broken_disk_at_any_step_is_said_and_the_next_run_completes`
//!    - `crash::killed_at_random_points_and_resumed_the_end_is_that_of_an_undisturbed_run`
//! 2. Every object is verified when it is read; damaged files are reported, moved away and made again, never used.
//!    - `damage::an_object_harmed_in_any_way_is_told_set_aside_and_made_again`
//!    - `damage::an_entry_harmed_in_any_way_is_told_set_aside_and_made_again`
//!    - `damage::every_single_bit_of_an_entry_counts_or_changes_nothing`
//!    - `damage::a_view_that_was_meddled_with_is_made_anew`
//! 3. Inputs are checked again after the stage; if they changed, the result is discarded.
//!    - `engine::an_input_that_moves_during_the_run_is_not_cached`
//!    - `damage::a_stage_that_writes_into_its_input_fails_and_harms_nothing`
//!    - `damage::clocks_that_go_back_hide_no_change`
//! 4. Processes on one cache never compute a stage twice or see half a result.
//!    - `crash::eight_processes_on_one_cache_compute_each_stage_once`
//!    - `crash::eight_processes_of_which_some_are_killed_end_as_one_undisturbed`
//!    - `faults::a_view_that_another_process_reads_is_not_replaced`
//! 5. Killed training continues from its last checkpoint and ends bit-identical.
//!    - `training::killed_at_random_steps_training_ends_in_the_same_bits`
//!    - `training::a_damaged_checkpoint_falls_back_to_the_one_before`
//!    - `crash::killed_at_random_points_and_resumed_the_end_is_that_of_an_undisturbed_run`
//! 6. Ctrl-C stops at a checkpoint with 130 and leaves no child; a second one aborts.
//!    - `crash::ctrl_c_stops_at_a_checkpoint_with_130_leaves_no_child_and_the_next_run_goes_on`
//!    - `crash::a_second_ctrl_c_aborts_a_stage_that_does_not_listen`
//!    - `real::ctrl_c_checkpoints_and_exits_130`
//! 7. `run` does what `plan` predicts, and refuses a saved plan that no longer matches.
//!    - `plan::run_does_what_plan_said`
//!    - `schedule::what_moved_since_a_plan_is_named_by_stage_and_line`
//!    - `saved::a_plan_that_no_longer_holds_is_refused_with_stage_and_line`
//! 8. A run with nothing to do writes nothing and reads no object.
//!    - `faults::a_run_of_hits_changes_nothing_on_disk_and_reads_no_object`
//!
//! Nothing leads out of the project: all of `escape`, with `damage::a_folder_of_objects_that_is_a_link_is_not_followed`
//! and `damage::a_partial_full_of_leftovers_is_no_obstacle`.

use std::collections::BTreeMap;

/// The tests that the table above names, by promise.
fn named() -> BTreeMap<usize, Vec<(&'static str, &'static str)>> {
    let mut named: BTreeMap<usize, Vec<_>> = BTreeMap::new();
    let mut promise = 0;
    for line in include_str!("trust.rs").lines().filter_map(|l| l.strip_prefix("//! ")) {
        if let Some((number, _)) = line.split_once(". ") {
            promise = number.parse().unwrap_or(promise);
        }
        let tests = line.split('`').skip(1).step_by(2).filter_map(|word| word.split_once("::"));
        named.entry(promise).or_default().extend(tests);
    }
    named
}

#[test]
fn every_promise_has_tests_and_they_are_there() {
    let sources = BTreeMap::from([
        ("crash", include_str!("crash.rs")),
        ("damage", include_str!("../engine/damage.rs")),
        ("engine", include_str!("../engine/engine.rs")),
        ("faults", include_str!("../engine/faults.rs")),
        ("plan", include_str!("../engine/plan.rs")),
        ("real", include_str!("real.rs")),
        ("saved", include_str!("saved.rs")),
        ("schedule", include_str!("../engine/schedule.rs")),
        ("training", include_str!("training.rs")),
    ]);
    let named = named();
    for promise in 1..=8 {
        assert!(named.get(&promise).is_some_and(|tests| !tests.is_empty()), "promise {promise} has no test");
    }
    for (module, test) in named.values().flatten() {
        let source = sources.get(module).unwrap_or_else(|| panic!("no module {module}"));
        let is_test =
            source.contains(&format!("#[test]\nfn {test}(")) || source.contains(&format!("#[test]\n    fn {test}("));
        assert!(is_test, "there is no test {module}::{test}");
    }
}
