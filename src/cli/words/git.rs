//! Runs git to answer questions about revisions.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::error::Error;

/// A git repository with its working tree.
pub struct Repository {
    /// The folder in which git runs.
    dir: PathBuf,
    pub top: PathBuf,
}

/// A file that differs between a revision and the working tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// From the top of the working tree; for a renamed file, the old path.
    pub before: Option<PathBuf>,
    pub after: Option<PathBuf>,
}

impl Repository {
    /// The repository that contains `dir`.
    pub fn of(dir: &Path) -> Result<Self, Error> {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let output = run(dir, ["rev-parse", "--show-toplevel"])?;
        if !output.status.success() {
            return Err(Error::usage(format!("{} is not in a git repository", dir.display()))
                .help("`pipe diff BASE HEAD` compares two files without git"));
        }
        Ok(Self { dir: dir.into(), top: path_of(output.stdout.trim_ascii_end()) })
    }

    /// The commit that a revision names.
    pub fn commit(&self, revision: &str) -> Result<String, Error> {
        let name = format!("{revision}^{{commit}}");
        let output = run(&self.dir, ["rev-parse", "--verify", "--quiet", "--end-of-options", &name])?;
        if !output.status.success() {
            let error = Error::usage(format!("unknown git revision `{revision}`"));
            return Err(match revision {
                "HEAD" => error.help("the repository has no commit yet"),
                _ => error.help(
                    "a shallow clone may lack it: run `git fetch --unshallow`, or set `fetch-depth: 0` in a workflow",
                ),
            });
        }
        Ok(String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned())
    }

    /// The path from the top of the working tree, for a path that is relative to the top (as in git) or to the current
    /// folder.
    pub fn locate(&self, commit: &str, path: &str) -> Result<Option<PathBuf>, Error> {
        let prefix = run(&self.dir, ["rev-parse", "--show-prefix"])?.stdout;
        let here = path_of(prefix.trim_ascii_end()).join(path);
        let candidates = if path.starts_with("./") || path.starts_with("../") {
            vec![here]
        } else {
            vec![PathBuf::from(path), here]
        };
        for candidate in candidates.iter().filter_map(|c| normal(c)) {
            if self.blob(commit, &candidate)?.is_some() {
                return Ok(Some(candidate));
            }
        }
        Ok(None)
    }

    /// The object name of a file's content at a commit, if the commit has the file.
    fn blob(&self, commit: &str, path: &Path) -> Result<Option<String>, Error> {
        let output = run(&self.dir, ["rev-parse", "--verify", "--quiet", &object(commit, path)])?;
        let name = String::from_utf8_lossy(output.stdout.trim_ascii()).into_owned();
        Ok(output.status.success().then_some(name))
    }

    /// The text of a file at a commit; None if the commit has no such file.
    pub fn text(&self, commit: &str, path: &Path) -> Result<Option<String>, Error> {
        let Some(blob) = self.blob(commit, path)? else { return Ok(None) };
        let output = run(&self.dir, ["cat-file", "blob", &blob])?;
        if !output.status.success() {
            return Err(failed(&format!("read {}", path.display()), &output));
        }
        let text = String::from_utf8(output.stdout);
        text.map(Some).map_err(|_| Error::usage(format!("{} is not valid UTF-8 at that revision", path.display())))
    }

    /// blake3 of a file as a checkout of the commit would write it. It is streamed, because inputs may exceed the
    /// memory.
    pub fn digest(&self, commit: &str, path: &Path) -> Result<Option<String>, Error> {
        if self.blob(commit, path)?.is_none() {
            return Ok(None);
        }
        let what = format!("read {}", path.display());
        let mut git = command(&self.dir);
        git.args(["cat-file", "--filters", &object(commit, path)]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut git: Child = git.spawn().map_err(|e| missing(&e))?;
        let mut hasher = blake3::Hasher::new();
        let read = git.stdout.take().map(|stdout| hasher.update_reader(stdout).map(drop)).transpose();
        let status = git.wait();
        match (read, status) {
            (Ok(_), Ok(status)) if status.success() => Ok(Some(hasher.finalize().to_hex().to_string())),
            (Err(e), _) | (_, Err(e)) => Err(Error::failed(format!("git cannot {what}: {e}"))),
            (_, Ok(status)) => Err(Error::failed(format!("git cannot {what}: {status}"))),
        }
    }

    /// The files of a commit with this extension, from the top of the working tree.
    pub fn files(&self, commit: &str, extension: &str) -> Result<Vec<PathBuf>, Error> {
        let output = run(&self.top, ["ls-tree", "-r", "-z", "--name-only", "--full-tree", commit])?;
        if !output.status.success() {
            return Err(failed("list the files of a revision", &output));
        }
        let all = output.stdout.split(|b| *b == 0).map(path_of);
        Ok(all.filter(|p| p.extension().is_some_and(|e| e == extension)).collect())
    }

    /// The tracked files that differ between a commit and the working tree.
    pub fn moved(&self, commit: &str) -> Result<Vec<Moved>, Error> {
        let output = run(&self.top, ["diff", "--no-ext-diff", "--name-status", "-z", "-M", commit, "--"])?;
        if !output.status.success() {
            return Err(failed("compare the working tree", &output));
        }
        let mut words = output.stdout.split(|b| *b == 0).filter(|w| !w.is_empty());
        let mut all = Vec::new();
        while let (Some(status), Some(path)) = (words.next(), words.next()) {
            let path = path_of(path);
            all.push(match status.first() {
                Some(b'A') => Moved { before: None, after: Some(path) },
                Some(b'D') => Moved { before: Some(path), after: None },
                Some(b'R' | b'C') => Moved { before: Some(path), after: words.next().map(path_of) },
                _ => Moved { before: Some(path.clone()), after: Some(path) },
            });
        }
        Ok(all)
    }
}

/// git's name for a file at a commit.
fn object(commit: &str, path: &Path) -> String {
    format!("{commit}:{}", path.display())
}

/// Resolve `.` and `..` in a path from the top; None if it leads out of the top.
fn normal(path: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => out.push(name),
            Component::CurDir => {}
            Component::ParentDir if out.pop() => {}
            _ => return None,
        }
    }
    Some(out)
}

fn command(dir: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(dir).stdin(Stdio::null());
    // Take no locks, download nothing, and print messages in English.
    git.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_LFS_SKIP_SMUDGE", "1").env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C");
    git
}

fn run<S: AsRef<OsStr>>(dir: &Path, words: impl IntoIterator<Item = S>) -> Result<Output, Error> {
    command(dir).args(words).output().map_err(|e| missing(&e))
}

fn missing(error: &io::Error) -> Error {
    Error::failed(format!("cannot run git: {error}")).help("`pipe diff BASE HEAD` compares two files without git")
}

fn failed(what: &str, output: &Output) -> Error {
    Error::failed(format!("git cannot {what}: {}", String::from_utf8_lossy(output.stderr.trim_ascii())))
}

fn path_of(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(OsStr::from_bytes(bytes))
}

/// Split `REV:path`; None if the word does not have that form. A revision may contain colons in braces:
/// `HEAD^{/fix: it}:x.toml`.
pub fn split(word: &str) -> Option<(&str, &str)> {
    let mut depth = 0;
    let colon = word.char_indices().find_map(|(at, c)| match c {
        '{' => {
            depth += 1;
            None
        }
        '}' => {
            depth -= 1;
            None
        }
        ':' if depth <= 0 => Some(at),
        _ => None,
    })?;
    let (revision, path) = (&word[..colon], &word[colon + 1..]);
    (!revision.is_empty() && !path.is_empty()).then_some((revision, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_ends_at_the_first_colon_outside_braces() {
        assert_eq!(split("HEAD~2:a/b.toml"), Some(("HEAD~2", "a/b.toml")));
        assert_eq!(split("HEAD^{/fix: it}:x.toml"), Some(("HEAD^{/fix: it}", "x.toml")));
        for word in ["a/b.toml", ":x.toml", "HEAD:"] {
            assert_eq!(split(word), None, "{word}");
        }
    }

    #[test]
    fn paths_stay_below_the_top() {
        assert_eq!(normal(Path::new("a/./b/../c")), Some(PathBuf::from("a/c")));
        assert_eq!(normal(Path::new("a/../../c")), None);
        assert_eq!(normal(Path::new("/c")), None);
    }
}
