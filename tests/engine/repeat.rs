//! `repeat = N`: the short form of an axis of seeds.

use std::collections::BTreeMap;

use super::toys::Dir;

const HEAD: &str = "seed = 42\n[stage.a]\nuse = \"write@x\"\n[stage.loud]\nuse = \"shout\"\nin.text = \"a\"\n";
const TAIL: &str = "[stage.n]\nuse = \"shout\"\nin.text = \"loud\"\n[stage.all]\nuse = \"join\"\nin.texts = \"n\"\n";

/// Names and seeds of the instances of `loud`, and everything that decides their fingerprints.
fn instances(lines: &str) -> BTreeMap<String, (u64, String)> {
    let pipeline = Dir::new(&format!("{HEAD}{lines}{TAIL}")).resolve(None, &[]).unwrap();
    let of = |i: &pipe_engine::declare::instance::Instance| (i.name.clone(), (i.seed, format!("{:?}", i.own_lines())));
    pipeline.instances.iter().map(of).collect()
}

fn refused(lines: &str) -> String {
    let problems = Dir::new(&format!("{HEAD}{lines}{TAIL}")).resolve(None, &[]).err().expect("refused");
    let said = problems.0.iter().map(|d| {
        let at = d.place.as_ref().map_or("", |place| &place.source.text[place.span.clone()]);
        format!("{at}: {}; {}{}", d.message, d.label, d.help.join(", "))
    });
    said.collect::<Vec<_>>().join("\n")
}

#[test]
fn it_is_a_matrix_of_the_seed_and_the_following_ones() {
    let short = instances("repeat = 3\n");
    assert_eq!(short, instances("matrix = { seed = [42, 43, 44] }\n"));
    assert!(short.keys().any(|name| name == "n[seed=44]"), "consumers follow: {short:?}");
    assert_eq!(short["loud[seed=43]"].0, 43);
    // The stage's own seed is the first, and other axes are kept.
    assert_eq!(instances("repeat = 2\nseed = 7\n"), instances("matrix = { seed = [7, 8] }\n"));
    assert_eq!(
        instances("repeat = 2\nmatrix = { times = [1, 2] }\n"),
        instances("matrix = { times = [1, 2], seed = [42, 43] }\n")
    );
    // One is allowed: the same result as without, under a name that shows the seed.
    let one = instances("repeat = 1\n");
    assert_eq!(one["loud[seed=42]"], instances("")["loud"]);
}

#[test]
fn a_run_finds_the_results_of_the_matrix_and_more_repeats_keep_the_first() {
    let dir = Dir::new(&format!("{HEAD}matrix = {{ seed = [42, 43] }}\n{TAIL}"));
    dir.run();
    dir.write("p.toml", &format!("{HEAD}repeat = 3\n{TAIL}"));
    let ran = dir.run().sorted();
    assert_eq!(ran.iter().filter(|line| line.starts_with("run")).count(), 2, "{ran:?}");
    assert!(ran.contains(&"run loud[seed=44]".into()) && ran.contains(&"hit loud[seed=42]".into()), "{ran:?}");
    let pipeline = dir.resolve(None, &["stage.loud.repeat=5"]).unwrap();
    assert_eq!(pipeline.instances.iter().filter(|i| i.stage == "loud").count(), 5);
}

#[test]
fn what_it_cannot_be_is_said() {
    assert_eq!(
        refused("repeat = 0\n"),
        "0: `repeat` is 0; it must be 1 or more; how many instances, each with another seed"
    );
    assert_eq!(
        refused("repeat = -3\n"),
        "-3: `repeat` is -3; it must be 1 or more; how many instances, each with another seed"
    );
    assert_eq!(
        refused("repeat = \"five\"\n"),
        "\"five\": `repeat` must be a whole number, 1 or more, found the string \"five\"; expected a whole number"
    );
    assert_eq!(
        refused("repeat = 2\nmatrix = { seed = [1] }\n"),
        "2: the seeds are set twice: by `repeat` and by the axis `seed` of `matrix`; keep one of the two"
    );
    assert_eq!(refused("repeat = 100001\n"), "100001: `repeat` is 100001; a pipeline has at most 100000 instances; ");
    assert_eq!(
        refused("repeat = 2\nseed = 9223372036854775807\n"),
        "2: `repeat` counts up from the seed 9223372036854775807, beyond the largest seed, 9223372036854775807; "
    );
    let unseeded = "[stage.b]\nuse = \"count\"\nin.text = \"a\"\nrepeat = 5\n";
    assert_eq!(
        refused(unseeded),
        "5: `repeat` would give 5 times the same: no `count` depends on the seed; repeat the stages before it whose \
         results depend on the seed"
    );
    assert!(Dir::new(&format!("{HEAD}{}", unseeded.replace("= 5", "= 1"))).resolve(None, &[]).is_ok());
}
