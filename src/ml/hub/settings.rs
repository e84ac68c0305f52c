//! Settings for the Hub from environment variables: endpoint, cache folder, token, timeout.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

const ENDPOINT: &str = "https://huggingface.co";
/// Timeout in seconds, as in Python's huggingface_hub.
const PATIENCE: u64 = 10;
/// The wait before the first retry; it doubles with each further retry.
const PAUSE: Duration = Duration::from_secs(1);

/// Settings for the Hub. The struct holds a secret, so it does not implement `Debug`.
pub(super) struct Settings {
    /// URL of the Hub, without a trailing slash.
    pub endpoint: String,
    /// Contains a folder `models--OWNER--NAME` for each repository.
    pub cache: PathBuf,
    pub token: Option<String>,
    /// The environment variable that forbids downloads, if one does.
    pub offline: Option<&'static str>,
    /// How long the client waits for a server that sends nothing.
    pub patience: Duration,
    pub pause: Duration,
}

impl Settings {
    pub(super) fn from_env() -> Result<Self> {
        Self::of(&|name| std::env::var(name).ok(), std::env::home_dir())
    }

    /// Reads the variables with the meanings that Python's huggingface_hub gives them.
    fn of(variable: &dyn Fn(&str) -> Option<String>, user: Option<PathBuf>) -> Result<Self> {
        let set = |name| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let folder = |name| set(name).map(PathBuf::from);
        let caches = || folder("XDG_CACHE_HOME").or_else(|| user.map(|user| user.join(".cache")));
        let home = folder("HF_HOME").or_else(|| caches().map(|caches| caches.join("huggingface")));
        let home = home.context("cannot find a home folder for the model cache; set HF_HOME")?;
        let cache = folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE"));
        let token = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN"));
        let token = token.or_else(|| kept(&folder("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"))));
        ensure!(
            token.as_deref().is_none_or(|token| token.bytes().all(|b| b.is_ascii_graphic())),
            "the token in HF_TOKEN (or in the file that `hf auth login` writes) contains invalid characters"
        );
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        ensure!(
            endpoint.starts_with("https://") || endpoint.starts_with("http://"),
            "HF_ENDPOINT is not a URL; it must start with https:// or http://"
        );
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| set(name).is_some());
        let seconds = set("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|text| text.parse().ok()).filter(|s| *s > 0);
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            cache: cache.unwrap_or_else(|| home.join("hub")),
            token,
            offline: offline.filter(|name| set(name).is_some_and(|value| is_true(&value))),
            patience: Duration::from_secs(seconds.unwrap_or(PATIENCE)),
            pause: PAUSE,
        })
    }
}

fn is_true(value: &str) -> bool {
    ["1", "true", "yes", "on"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// The token in the file that `hf auth login` writes.
fn kept(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Settings::of(&variable, Some("/home/ann".into())).unwrap()
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| with(variables).cache.display().to_string();
        assert_eq!(cache(&[]), "/home/ann/.cache/huggingface/hub");
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/var/ann")]), "/var/ann/huggingface/hub");
        assert_eq!(cache(&[("HF_HOME", "/data/hf")]), "/data/hf/hub");
        assert_eq!(cache(&[("HF_HOME", "/data/hf"), ("HF_HUB_CACHE", "/models")]), "/models");
        assert_eq!(cache(&[("HF_HOME", " ")]), "/home/ann/.cache/huggingface/hub");
    }

    #[test]
    fn the_token_of_the_environment_goes_before_the_one_that_is_kept() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_kept\n").unwrap();
        let home = home.path().to_str().unwrap();
        assert_eq!(with(&[("HF_HOME", home)]).token.as_deref(), Some("hf_kept"));
        assert_eq!(with(&[("HF_HOME", home), ("HF_TOKEN", " hf_said ")]).token.as_deref(), Some("hf_said"));
        let elsewhere = format!("{home}/token");
        assert_eq!(with(&[("HF_TOKEN_PATH", &elsewhere)]).token.as_deref(), Some("hf_kept"));
        assert_eq!(with(&[]).token, None);
    }

    #[test]
    fn a_token_or_an_endpoint_that_can_be_none_is_refused_without_showing_it() {
        for (name, value) in [("HF_TOKEN", "hf_one hf_two"), ("HF_ENDPOINT", "user:hf_one@hub")] {
            let text =
                Settings::of(&|n| (n == name).then(|| value.into()), Some("/".into())).err().unwrap().to_string();
            assert!(text.contains(name) && !text.contains("hf_one"), "{text}");
        }
    }

    #[test]
    fn offline_names_the_variable_that_says_so() {
        assert_eq!(with(&[("HF_HUB_OFFLINE", "1")]).offline, Some("HF_HUB_OFFLINE"));
        assert_eq!(with(&[("TRANSFORMERS_OFFLINE", "Yes")]).offline, Some("TRANSFORMERS_OFFLINE"));
        assert_eq!(with(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).offline, None);
        assert_eq!(with(&[]).offline, None);
    }

    #[test]
    fn an_endpoint_may_end_in_a_slash() {
        assert_eq!(with(&[("HF_ENDPOINT", "https://mirror/hub/")]).endpoint, "https://mirror/hub");
        assert_eq!(with(&[]).endpoint, "https://huggingface.co");
    }
}
