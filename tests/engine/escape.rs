//! Names and links that lead out of the project: pipe writes nothing outside and follows nothing tampered with.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use pipe_engine::store::artifact::{Artifact, ArtifactFile};
use pipe_engine::store::entry::Entry;

use super::disks::files;
use super::toys::Dir;

fn export(folder: &str) -> String {
    format!("[stage.a]\nuse = \"heap@3\"\nexport = \"{folder}\"\n")
}

/// The failure of a run with exactly one.
#[track_caller]
fn failure(dir: &Dir) -> String {
    let said = dir.run().summary();
    let failed: Vec<&String> = said.iter().filter(|s| s.starts_with("fail ")).collect();
    assert_eq!(failed.len(), 1, "{said:?}");
    failed[0].clone()
}

#[test]
fn exports_that_leave_the_project_are_mistakes_of_the_file() {
    for folder in ["../out", "a/../../out", "/tmp/out", "..", "/", "", "a/.."] {
        let dir = Dir::new(&export(folder));
        let problems = dir.resolve(None, &[]).map(drop).unwrap_err();
        assert_eq!(problems.0[0].message, format!("`export = \"{folder}\"` is outside the project"));
    }
    // The command line and profiles are checked too.
    let dir = Dir::new(&export("out"));
    assert!(dir.resolve(None, &["stage.a.export=../out"]).is_err());
    dir.write("p.toml", &(export("out") + "[profile.p.stage.a]\nexport = \"/tmp/out\"\n"));
    assert!(dir.resolve(Some("p"), &[]).is_err());
}

#[test]
fn relative_inputs_do_not_leave_the_project() {
    for path in ["../secret", "a/../../secret"] {
        let dir = Dir::new(&format!("[stage.a]\nuse = \"write\"\npath = \"{path}\"\n"));
        let pipeline = dir.resolve(None, &[]).unwrap();
        let project = dir.open();
        let problems = project.prepare(&pipeline, &[], &[], &[]).unwrap().complete().unwrap_err();
        assert_eq!(problems.0[0].message, format!("stage `a` reads `{path}`, which is outside the project"));
    }
}

#[test]
fn two_results_never_share_an_export_folder() {
    let two = |one: &str, other: &str| {
        format!(
            "[stage.a]\nuse = \"write@x\"\nexport = \"{one}\"\n[stage.b]\nuse = \"write@y\"\nexport = \"{other}\"\n"
        )
    };
    for (one, other) in [("out", "out"), ("out", "./out"), ("out/", "out"), ("a/./b", "a/b")] {
        let dir = Dir::new(&two(one, other));
        let problems = dir.resolve(None, &[]).map(drop).unwrap_err();
        assert_eq!(problems.0.len(), 1);
        let folder = if one.starts_with('a') { "a/b" } else { "out" };
        assert_eq!(problems.0[0].message, format!("the stages `a` and `b` export to one folder, `{folder}`"));
        assert_eq!(problems.0[0].label, "`a` exports there too, in line 3");
    }
    assert!(Dir::new(&two("out", "out/b")).resolve(None, &[]).is_ok());
    // Labels that give the same folder name.
    let dir = Dir::new(
        "[stage.a]\nuse = \"write\"\nmatrix = { text = [\"v/1\", \"v 1\", \"v_1\", \"w/1\"] }\nexport = \"out\"\n",
    );
    assert_eq!(dir.run().outcome.failed, 0);
    let texts = ["a[text=v%2F1]", "a[text=v%201]", "a[text=v_1]", "a[text=w_1]"]
        .map(|name| dir.read(&format!("out/{name}/text")));
    assert_eq!(texts, ["v/1", "v 1", "v_1", "w/1"]);
    assert!(!dir.run().events.iter().any(|e| matches!(e, pipe_engine::contract::event::Event::Exported { .. })));
}

#[test]
fn a_cache_that_is_a_link_to_nowhere_is_told_and_another_link_works() {
    let dir = Dir::new("[stage.a]\nuse = \"write@x\"\n");
    let (cache, elsewhere) = (dir.path("cache"), tempfile::tempdir().unwrap());
    fs::remove_dir_all(&cache).unwrap();
    symlink("/nowhere/mounted", &cache).unwrap();
    let error = pipe_engine::judge::project::Project::open(&dir.path(""), None).map(drop).unwrap_err();
    assert_eq!(
        error.to_string().replace(dir.path("").to_str().unwrap(), "ROOT/"),
        "the cache folder ROOT/cache is a link to /nowhere/mounted, which does not exist; mount that disk or create that \
         folder, or remove the link"
    );
    fs::remove_file(&cache).unwrap();
    symlink(elsewhere.path(), &cache).unwrap();
    assert_eq!([dir.run().summary(), dir.run().summary()], [["run a"], ["hit a"]]);
}

#[test]
fn an_export_goes_through_no_link() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::write(elsewhere.path().join("mine"), "mine").unwrap();
    for link in ["out", "out/deep", "out/deep/0", "out/deep/text", "out/deep/0/0.txt"] {
        let dir = Dir::new(&export("out/deep"));
        fs::create_dir_all(dir.path(link).parent().unwrap()).unwrap();
        let target =
            if link.ends_with("t") && link != "out" { elsewhere.path().join("mine") } else { elsewhere.path().into() };
        symlink(&target, dir.path(link)).unwrap();
        let said = failure(&dir);
        let place = dir.path(link);
        assert!(
            said.ends_with(&format!(
                "cannot write through {}: it is a symbolic link, which could lead out of the project",
                place.display()
            )),
            "{said}"
        );
        assert_eq!(files(elsewhere.path()), [elsewhere.path().join("mine")]);
        assert_eq!(fs::read_to_string(elsewhere.path().join("mine")).unwrap(), "mine");
    }
}

#[test]
fn an_export_replaces_neither_folders_nor_what_its_own_leftover_leads_to() {
    let dir = Dir::new(&export("out"));
    fs::create_dir_all(dir.path("out/text")).unwrap();
    let said = failure(&dir);
    assert!(said.contains("out/text: Is a directory"), "{said}");
    // The temporary name of an export as a link to another file.
    let dir = Dir::new(&export("out"));
    dir.write("mine.txt", "mine");
    fs::create_dir(dir.path("out")).unwrap();
    symlink(dir.path("mine.txt"), dir.path("out/.pipe-export")).unwrap();
    assert_eq!(dir.run().outcome.failed, 0);
    assert_eq!(dir.read("mine.txt"), "mine");
    assert!(!dir.path("out/.pipe-export").exists());
}

#[test]
fn the_cache_is_no_place_for_exports() {
    for folder in ["cache", "cache/objects", "./cache/entries"] {
        let dir = Dir::new(&export(folder));
        let said = failure(&dir);
        assert!(said.contains("the folder is inside the cache"), "{said}");
    }
}

#[test]
fn odd_names_are_kept_as_they_are() {
    let dir = Dir::new("[stage.a]\nuse = \"odd@names\"\nexport = \"out\"\n");
    assert_eq!(dir.run().summary(), ["run a"]);
    let names = ["..x", "...", "a\\b", "two\nlines", "-rf *", "ünïcode", ".hidden"];
    for name in names {
        assert_eq!(dir.read(&format!("out/{name}")), name);
    }
    assert_eq!(files(&dir.path("out")).len(), names.len());
    assert_eq!(dir.run().summary(), ["hit a"]);
}

#[test]
fn an_output_that_is_no_plain_file_or_folder_is_refused_by_name() {
    let cases = [
        (
            "bytes",
            "the file name of cache/partial/",
            "caf\u{fffd}.txt is not valid Unicode; a stage may write only files with Unicode names",
        ),
        (
            "pipe",
            "cache/partial/",
            "out/text/pipe is neither a regular file nor a folder; a stage may write only files and folders",
        ),
        ("folder", "", "the stage wrote nothing to its output `text`"),
    ];
    for (what, begin, end) in cases {
        let dir = Dir::new(&format!("[stage.a]\nuse = \"odd@{what}\"\n"));
        let before = files(dir.temp.path());
        let said = failure(&dir);
        assert!(said.starts_with(&format!("fail a: {begin}")) && said.ends_with(end), "{said}");
        let mode = fs::metadata(dir.path("p.toml")).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, fs::metadata(&before[0]).unwrap().permissions().mode() & 0o777);
        assert_ne!(mode, 0o444, "the project's own files were taken for output");
        assert_eq!(fs::read_dir(dir.path("cache/entries")).unwrap().count(), 0);
    }
}

#[test]
fn a_second_name_of_the_users_file_is_copied_not_taken() {
    let dir =
        Dir::new("[stage.a]\nuse = \"odd@mine\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\nexport = \"out\"\n");
    dir.write("mine.txt", "mine");
    dir.run();
    assert_eq!(fs::metadata(dir.path("mine.txt")).unwrap().permissions().mode() & 0o222, 0o200, "still writable");
    dir.write("mine.txt", "changed");
    dir.write("p.toml", &fs::read_to_string(dir.path("p.toml")).unwrap().replace("\"shout\"", "\"shout@2\""));
    assert_eq!(dir.run().summary(), ["hit a", "run b"]);
    assert_eq!(dir.read("out/text"), "MINEMINE");
}

/// Give every artifact of every entry a single file with this path and a matching digest.
fn edit_entries(dir: &Dir, path: &str) {
    for file in files(&dir.path("cache/entries")) {
        let mut entry = Entry::from_bytes(&fs::read(&file).unwrap()).unwrap();
        for artifact in entry.outputs.values_mut() {
            let first = artifact.files[0].clone();
            *artifact = Artifact::new(&artifact.ty, vec![ArtifactFile { path: path.into(), ..first }]);
        }
        fs::write(&file, entry.to_bytes().unwrap()).unwrap();
    }
}

#[test]
fn entries_whose_files_lie_elsewhere_are_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    let absolute = outside.path().join("x").display().to_string();
    for path in ["../x", "../../../x", "a/../../x", "/x", absolute.as_str(), ".", "..", "a/./../.."] {
        let dir = Dir::new(
            "[stage.a]\nuse = \"write@hello\"\nexport = \"out\"\n[stage.b]\nuse = \"shout\"\nin.text = \"a\"\n",
        );
        dir.run();
        edit_entries(&dir, path);
        fs::remove_dir_all(dir.path("out")).unwrap();
        let above = files_above(dir.temp.path());
        assert_eq!(dir.run().summary(), ["run a", "run b"], "{path}");
        assert_eq!(dir.read("out/text"), "hello");
        assert_eq!(files_above(dir.temp.path()), above, "{path}");
        assert_eq!(files(outside.path()).len(), 0, "{path}");
    }
}

/// Paths beside the project; none of them may appear.
fn files_above(root: &Path) -> Vec<String> {
    let names = ["x", "cache", "out"].map(|name| root.parent().unwrap().join(name));
    names.iter().filter(|p| p.exists()).map(|p| p.display().to_string()).collect()
}

#[test]
fn digests_in_entries_cannot_pose_as_paths() {
    let dir = Dir::new("[stage.a]\nuse = \"write@hello\"\n");
    dir.run();
    for digest in ["../../../../etc/passwd", "", "a", "zz/../..", "ééééé"] {
        let file = files(&dir.path("cache/entries")).remove(0);
        let mut entry = Entry::from_bytes(&fs::read(&file).unwrap()).unwrap();
        let artifact = entry.outputs.get_mut("text").unwrap();
        let files = vec![ArtifactFile { digest: digest.into(), ..artifact.files[0].clone() }];
        *artifact = Artifact::new("text", files);
        fs::write(&file, entry.to_bytes().unwrap()).unwrap();
        assert_eq!(dir.run().summary(), ["run a"], "{digest}");
    }
}
