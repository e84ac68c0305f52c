//! Models named `hf:OWNER/NAME[@REVISION]`: found in the Hugging Face cache or downloaded into it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};

use super::weights;
use crate::ml::watch::{Interrupted, Progress, Watch};

const SCHEME: &str = "hf:";
/// What a classifier needs beside its weights; those that a repository lacks are left out.
const SMALL: &[&str] =
    &["config.json", "tokenizer.json", "vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"];

/// A model of the hub that is in the local cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Holds config, weights and tokenizer files.
    pub dir: PathBuf,
    /// The commit that the revision stood for when it was fetched: the folder's name.
    pub commit: String,
}

/// True for `hf:…`, false for a folder.
pub fn is_reference(base: &str) -> bool {
    base.starts_with(SCHEME)
}

/// The local folder of `hf:OWNER/NAME[@REVISION]`, after downloading what the cache lacks.
///
/// Honours `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`. What the cache
/// holds complete is used without asking the hub, so a branch name stays at the commit that was
/// fetched first; name a commit to say which one it must be.
pub fn resolve(reference: &str, watch: &dyn Watch) -> Result<Resolved> {
    Hub::from_env()?.resolve(reference, watch)
}

/// What the local cache holds complete of `hf:OWNER/NAME[@REVISION]`; nobody is asked. An error where asking would be of no
/// use: for what is no name, and offline.
pub fn held(reference: &str) -> Result<Option<Resolved>> {
    Hub::from_env()?.held(reference, &Wanted::parse(reference)?)
}

/// Where models come from and where they are kept.
struct Hub {
    cache: PathBuf,
    endpoint: Option<String>,
    token: Option<String>,
    offline: bool,
}

/// What a reference names.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    repository: String,
    revision: String,
}

/// Whether a part of a name can be a folder's name and no more.
fn plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

impl Wanted {
    fn parse(reference: &str) -> Result<Self> {
        let name = reference.strip_prefix(SCHEME).unwrap_or(reference);
        let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
        let parts: Vec<&str> = repository.split('/').collect();
        ensure!(
            parts.len() <= 2 && parts.iter().all(|part| plain(part)) && revision.split('/').all(plain),
            "`{reference}` is not a model name; write hf:OWNER/NAME or hf:OWNER/NAME@REVISION"
        );
        Ok(Wanted { repository: repository.into(), revision: revision.into() })
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repository.clone(), RepoType::Model, revision.into())
    }
}

impl Hub {
    fn from_env() -> Result<Self> {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.trim().is_empty());
        let cache = match (set("HF_HUB_CACHE"), set("HF_HOME")) {
            (Some(cache), _) => PathBuf::from(cache),
            (None, Some(home)) => Path::new(&home).join("hub"),
            (None, None) => std::env::home_dir()
                .ok_or_else(|| anyhow!("no home folder for the Hugging Face cache; set HF_HOME"))?
                .join(".cache/huggingface/hub"),
        };
        let token = set("HF_TOKEN").or_else(|| Cache::new(cache.clone()).token());
        let offline = set("HF_HUB_OFFLINE")
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on"));
        Ok(Hub { cache, endpoint: set("HF_ENDPOINT"), token, offline })
    }

    fn resolve(&self, reference: &str, watch: &dyn Watch) -> Result<Resolved> {
        let wanted = Wanted::parse(reference)?;
        if let Some(found) = self.held(reference, &wanted)? {
            return Ok(found);
        }
        self.download(&wanted, watch).map_err(|error| {
            if error.is::<Interrupted>() {
                return error;
            }
            error.context(format!("downloading {reference} failed; try again, {}", self.by_hand(&wanted)))
        })
    }

    fn held(&self, reference: &str, wanted: &Wanted) -> Result<Option<Resolved>> {
        let found = self.cached(wanted);
        ensure!(
            found.is_some() || !self.offline,
            "{reference} is not in the cache and HF_HUB_OFFLINE forbids to download it; unset it, {}",
            self.by_hand(wanted)
        );
        Ok(found)
    }

    fn by_hand(&self, wanted: &Wanted) -> String {
        let dir = self.snapshots(wanted).join(&wanted.revision);
        format!("or put config.json, model.safetensors and the tokenizer files into {}", dir.display())
    }

    fn snapshots(&self, wanted: &Wanted) -> PathBuf {
        self.cache.join(wanted.repo("main").folder_name()).join("snapshots")
    }

    /// The complete snapshot that the cache has for a revision: a commit, a folder named like the
    /// revision, or the commit that its ref points to.
    fn cached(&self, wanted: &Wanted) -> Option<Resolved> {
        let snapshots = self.snapshots(wanted);
        let reference = snapshots.parent()?.join("refs").join(&wanted.revision);
        let pointed = std::fs::read_to_string(reference).ok().map(|commit| commit.trim().to_owned());
        // What a ref's file says becomes a folder's name: it must not lead elsewhere.
        let pointed = pointed.filter(|commit| plain(commit));
        [Some(wanted.revision.clone()), pointed].into_iter().flatten().find_map(|commit| {
            let dir = snapshots.join(&commit);
            is_complete(&dir).then_some(Resolved { dir, commit })
        })
    }

    fn download(&self, wanted: &Wanted, watch: &dyn Watch) -> Result<Resolved> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_progress(false)
            .with_retries(2)
            .with_token(self.token.clone());
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
        }
        let api: Api = builder.build().context("setting up the connection")?;
        let info = api.repo(wanted.repo(&wanted.revision)).info().map_err(|error| explain(error, wanted))?;
        let has = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
        ensure!(has("config.json"), "the repository has no config.json");
        ensure!(plain(&info.sha), "the hub calls its commit `{}`, which is no commit", info.sha);
        // From here on by commit, so that a push in between cannot mix two versions.
        let dir = self.snapshots(wanted).join(&info.sha);
        let download = Download { repo: api.repo(wanted.repo(&info.sha)), dir, watch };
        for name in SMALL.iter().filter(|name| has(name)) {
            download.fetch(name)?;
        }
        let kinds = [(weights::SINGLE, weights::INDEX), (weights::PICKLE, weights::PICKLE_INDEX)];
        let kind = kinds.into_iter().find(|(single, index)| has(single) || has(index));
        match kind {
            Some((single, _)) if has(single) => drop(download.fetch(single)?),
            Some((_, index)) => {
                for shard in weights::shard_names(&download.fetch(index)?)? {
                    download.fetch(&shard)?;
                }
            }
            None => bail!("the repository has neither {} nor {}", weights::SINGLE, weights::PICKLE),
        }
        let cache = Cache::new(self.cache.clone());
        cache.repo(wanted.repo(&wanted.revision)).create_ref(&info.sha).context("writing the cache")?;
        Ok(Resolved { dir: download.dir, commit: info.sha })
    }
}

/// Whether a snapshot holds a config and whole weights; links whose file is gone do not count.
fn is_complete(dir: &Path) -> bool {
    dir.join("config.json").is_file() && weights::files(dir).is_ok_and(|files| !files.is_empty())
}

/// A snapshot that is being filled.
struct Download<'a> {
    repo: ApiRepo,
    dir: PathBuf,
    watch: &'a dyn Watch,
}

impl Download<'_> {
    /// Fetches one file unless the snapshot has it.
    fn fetch(&self, name: &str) -> Result<PathBuf> {
        if self.watch.stopped() {
            return Err(Interrupted.into());
        }
        let path = self.dir.join(name);
        if path.is_file() {
            return Ok(path);
        }
        let meter = Meter { watch: self.watch, done: 0, total: 0 };
        self.repo.download_with_progress(name, meter).with_context(|| format!("fetching {name}"))
    }
}

/// Passes a download's progress on.
struct Meter<'a> {
    watch: &'a dyn Watch,
    done: u64,
    total: u64,
}

impl hf_hub::api::Progress for Meter<'_> {
    fn init(&mut self, size: usize, _: &str) {
        (self.done, self.total) = (0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.done += size as u64;
        let progress = Progress { done: self.done, total: self.total, unit: "byte", ..Progress::default() };
        self.watch.progress(progress);
    }

    fn finish(&mut self) {}
}

/// What a refused request means for the user. The client's error type is not re-exported by
/// hf-hub, so the status is read from its text.
fn explain(error: ApiError, wanted: &Wanted) -> anyhow::Error {
    let text = error.to_string();
    let Wanted { repository, revision } = wanted;
    if text.contains("status: 404") {
        anyhow!("the hub has no {repository} at revision {revision}")
    } else if text.contains("status: 401") || text.contains("status: 403") {
        anyhow!(
            "the hub refuses access to {repository}: it does not exist, or it is private or gated; \
             set HF_TOKEN to a token that may read it"
        )
    } else {
        anyhow!(error).context(format!("asking the hub for {repository}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::model::Model;
    use crate::ml::model::fixture::Fixture;
    use crate::ml::watch::Silent;
    use burn::tensor::Device;
    use std::collections::HashMap;
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A hub of one repository, `some/model`, on a free port.
    fn serve(files: HashMap<&'static str, Vec<u8>>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &files);
            }
        });
        endpoint
    }

    fn answer(mut stream: TcpStream, files: &HashMap<&'static str, Vec<u8>>) {
        let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let range =
            headers.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let path = request.split(' ').nth(1).unwrap_or_default();
        let (status, extra, body) = if path == "/api/models/some/model/revision/main" {
            let siblings: Vec<_> = files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
            let info = serde_json::json!({"sha": COMMIT, "siblings": siblings});
            ("200 OK", String::new(), info.to_string().into_bytes())
        } else if let Some(name) = path.strip_prefix(&format!("/some/model/resolve/{COMMIT}/")) {
            let whole = &files[name];
            let (start, end) = range.as_deref().and_then(|r| r.split_once('-')).unwrap_or(("0", ""));
            let start: usize = start.parse().unwrap_or(0);
            let end = end.parse::<usize>().map_or(whole.len(), |end| end + 1).min(whole.len());
            let extra = format!(
                "etag: \"tag-{name}\"\r\nx-repo-commit: {COMMIT}\r\ncontent-range: bytes {start}-{}/{}\r\n",
                end - 1,
                whole.len()
            );
            ("206 Partial Content", extra, whole[start..end].to_vec())
        } else {
            ("404 Not Found", String::new(), Vec::new())
        };
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{extra}\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
    }

    fn hub(cache: &Path, endpoint: Option<String>, offline: bool) -> Hub {
        Hub { cache: cache.join("hub"), endpoint, token: None, offline }
    }

    fn error(hub: &Hub, reference: &str) -> String {
        format!("{:#}", hub.resolve(reference, &Silent).map(|_| ()).expect_err("refused"))
    }

    #[test]
    fn references_are_told_from_folders_and_paths_out_are_refused() {
        assert!(is_reference("hf:a/b") && !is_reference("models/hf"));
        let wanted = Wanted::parse("hf:some/model@refs/pr/1").expect("valid");
        assert_eq!(wanted, Wanted { repository: "some/model".into(), revision: "refs/pr/1".into() });
        assert_eq!(Wanted::parse("hf:distilroberta-base").expect("valid").revision, "main");
        for bad in ["hf:", "hf:a/b/c", "hf:../b", "hf:a/b@", "hf:a/b@../x", "hf:a b/c", "hf:/b"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_model_is_downloaded_once_and_then_found_offline() {
        let Some(fixture) = Fixture::open("roberta-tiny") else { return };
        let read = |name| fs::read(fixture.dir.join(name)).expect("read");
        let files = HashMap::from([
            ("config.json", read("config.json")),
            ("model.safetensors", read("model.safetensors")),
            ("tokenizer.json", b"{}".to_vec()),
            ("README.md", b"not fetched".to_vec()),
        ]);
        let cache = tempfile::tempdir().expect("a folder");
        let online = hub(cache.path(), Some(serve(files)), false);
        let resolved = online.resolve("hf:some/model", &Silent).expect("downloaded");
        assert_eq!(resolved.commit, COMMIT);
        assert!(resolved.dir.join("tokenizer.json").is_file() && !resolved.dir.join("README.md").exists());
        assert!(Model::load(&resolved.dir, None, 0, &Device::flex()).expect("loads").notes.is_empty());

        let offline = hub(cache.path(), None, true);
        for reference in ["hf:some/model", "hf:some/model@main", &format!("hf:some/model@{COMMIT}")] {
            assert_eq!(offline.resolve(reference, &Silent).expect("cached"), resolved, "{reference}");
        }
    }

    #[test]
    fn offline_and_absent_names_the_folder_which_then_works() {
        let Some(fixture) = Fixture::open("roberta-tiny") else { return };
        let cache = tempfile::tempdir().expect("a folder");
        let offline = hub(cache.path(), None, true);
        let folder = cache.path().join("hub/models--some--model/snapshots/main");
        assert_eq!(
            error(&offline, "hf:some/model"),
            format!(
                "hf:some/model is not in the cache and HF_HUB_OFFLINE forbids to download it; unset it, or put \
                 config.json, model.safetensors and the tokenizer files into {}",
                folder.display()
            )
        );
        fs::create_dir_all(&folder).expect("made");
        for name in ["config.json", "model.safetensors"] {
            fs::copy(fixture.dir.join(name), folder.join(name)).expect("copied");
        }
        assert_eq!(offline.resolve("hf:some/model", &Silent).expect("found").dir, folder);
    }

    #[test]
    fn what_the_hub_lacks_is_said_plainly() {
        let cache = tempfile::tempdir().expect("a folder");
        let files = HashMap::from([("config.json", b"{}".to_vec()), ("tf_model.h5", b"x".to_vec())]);
        let online = hub(cache.path(), Some(serve(files)), false);
        assert!(error(&online, "hf:some/other").contains(": the hub has no some/other at revision main"));
        assert!(error(&online, "hf:some/model").contains("has neither model.safetensors nor pytorch_model.bin"));
        let nobody = hub(cache.path(), Some("http://127.0.0.1:9".into()), false);
        let text = error(&nobody, "hf:some/model");
        assert!(text.starts_with("downloading hf:some/model failed; try again, or put config.json"), "{text}");
    }
}
