//! Toy kinds that stress the engine: many files, long work, odd outputs.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use pipe_engine::contract::context::{Context, Interrupted};
use pipe_engine::contract::kind::{Port, Stage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::toys::TEXT;

/// Append a line to the project's `tally`: which stage computed, and from which step.
fn tally(cx: &Context, what: &str) -> anyhow::Result<()> {
    let mut file = fs::OpenOptions::new().create(true).append(true).open(cx.root().join("tally"))?;
    Ok(file.write_all(format!("{} {what}\n", cx.stage()).as_bytes())?)
}

/// Many small files in folders, and a big one.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Heap {
    files: u32,
    /// Kilobytes of the big file.
    #[serde(default)]
    big: usize,
}

impl Stage for Heap {
    const KIND: &'static str = "heap";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("files");
    const INPUTS: &'static [Port] = &[];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const SEEDED: bool = true;

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        tally(cx, "heap")?;
        let out = cx.output("text")?;
        let bytes = |name: &str| blake3::hash(format!("{} {name}", cx.seed()).as_bytes()).to_hex().to_string();
        for n in 0..self.files {
            let folder = out.join(format!("{}", n % 3));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("{n}.txt")), bytes(&n.to_string()))?;
        }
        if self.big > 0 {
            fs::write(out.join("big"), bytes("big").repeat(self.big * 1024 / 64))?;
        }
        Ok(fs::write(out.join("text"), bytes("text"))?)
    }
}

/// Work in many small steps with a checkpoint after each, like training.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Steps {
    steps: u64,
    /// Ignores requests to stop.
    #[serde(default)]
    deaf: bool,
}

impl Stage for Steps {
    const KIND: &'static str = "steps";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("steps");
    const INPUTS: &'static [Port] = &[Port::optional("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];
    const SEEDED: bool = true;

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let work = cx.checkpoints()?;
        let start = match cx.inputs("text") {
            [] => cx.seed().to_string(),
            [input, ..] => fs::read_to_string(input.dir.join("text"))?,
        };
        let saved = fs::read_to_string(work.join("state")).ok();
        let saved = saved.as_deref().and_then(|s| s.split_once(' ')).and_then(|(n, s)| Some((n.parse().ok()?, s)));
        let (from, mut state) = saved.map_or((0, start), |(n, s): (u64, &str)| (n, s.to_string()));
        tally(cx, &format!("from {from}"))?;
        for step in from..self.steps {
            if cx.stopped() && !self.deaf {
                return Err(Interrupted.into());
            }
            state = blake3::hash(format!("{} {step} {state}", cx.seed()).as_bytes()).to_hex().to_string();
            fs::write(work.join("next"), format!("{} {state}", step + 1))?;
            fs::rename(work.join("next"), work.join("state"))?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(fs::write(cx.output("text")?.join("text"), state)?)
    }
}

/// Writes an odd output, or modifies its input.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Odd {
    what: What,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum What {
    /// File names that are odd and allowed.
    Names,
    /// A file name that is not Unicode.
    Bytes,
    Pipe,
    /// A link in place of the port's folder.
    Folder,
    /// A hard link to the user's `mine.txt`.
    Mine,
    /// Writes into its input.
    Scribble,
}

impl Stage for Odd {
    const KIND: &'static str = "odd";
    const VERSION: u32 = 1;
    const MAIN: Option<&'static str> = Some("what");
    const INPUTS: &'static [Port] = &[Port::optional("text", TEXT)];
    const OUTPUTS: &'static [Port] = &[Port::one("text", TEXT)];

    fn run(&self, cx: &mut Context) -> anyhow::Result<()> {
        let out = cx.output("text")?;
        match self.what {
            What::Names => {
                for name in ["..x", "...", "a\\b", "two\nlines", "-rf *", "ünïcode", ".hidden"] {
                    fs::write(out.join(name), name)?;
                }
            }
            What::Bytes => fs::write(out.join(OsStr::from_bytes(b"caf\xe9.txt")), "x")?,
            What::Pipe => anyhow::ensure!(Command::new("mkfifo").arg(out.join("pipe")).status()?.success()),
            What::Folder => {
                fs::remove_dir(&out)?;
                symlink(cx.root(), &out)?;
            }
            What::Mine => fs::hard_link(cx.root().join("mine.txt"), out.join("text"))?,
            What::Scribble => {
                let text = cx.input("text")?.dir.join("text");
                let mut mode = fs::metadata(&text)?.permissions();
                std::os::unix::fs::PermissionsExt::set_mode(&mut mode, 0o644);
                fs::set_permissions(&text, mode)?;
                fs::write(&text, "scribbled")?;
                fs::write(out.join("text"), "x")?;
            }
        }
        Ok(())
    }
}
