//! The special and added tokens of a folder, and the settings of its tokenizer.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer as Library};

use crate::files::pointer;

/// The content of `special_tokens_map.json`, `tokenizer_config.json` and `added_tokens.json`.
pub(super) struct Special {
    map: Value,
    config: Value,
    /// Tokens by id, including tokens of the vocabulary if the files list them, and whether a file says how each is
    /// matched.
    added: Vec<(u64, AddedToken, bool)>,
}

impl Special {
    pub(super) fn read(dir: &Path) -> Result<Self> {
        let map = json(&dir.join("special_tokens_map.json"))?;
        let config = json(&dir.join("tokenizer_config.json"))?;
        let mut added: Vec<(u64, AddedToken, bool)> = json(&dir.join("added_tokens.json"))?
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(token, id)| Some((id.as_u64()?, AddedToken::from(token.clone(), false), false)))
            .collect();
        // This field is newer and more detailed, so it wins.
        for (id, token) in config.get("added_tokens_decoder").and_then(Value::as_object).into_iter().flatten() {
            let Some((id, token)) = id.parse().ok().zip(as_added(token)) else { continue };
            added.retain(|(other, ..)| *other != id);
            added.push((id, token, true));
        }
        added.sort_by_key(|(id, ..)| *id);
        Ok(Special { map, config, added })
    }

    /// A token by its role, such as `cls_token` or `pad_token`.
    pub(super) fn token(&self, role: &str) -> Option<String> {
        // The files store it as text, or as an object with its `content`.
        [&self.map, &self.config].into_iter().find_map(|file| {
            let token = file.get(role)?;
            token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
        })
    }

    pub(super) fn token_or(&self, role: &str, default: &str) -> String {
        self.token(role).unwrap_or_else(|| default.to_owned())
    }

    /// A token by its role, with how it is matched.
    pub(super) fn role(&self, role: &str) -> Option<AddedToken> {
        let token = [&self.map, &self.config].into_iter().find_map(|file| file.get(role).filter(|it| !it.is_null()))?;
        as_special(token)
    }

    /// The special tokens without a role.
    pub(super) fn additional(&self) -> Vec<AddedToken> {
        let names = ["additional_special_tokens", "extra_special_tokens"];
        let lists = [&self.map, &self.config].into_iter().flat_map(|file| names.map(|name| file.get(name)));
        let tokens = lists.flatten().flat_map(|list| match list {
            Value::Array(list) => list.iter().collect(),
            Value::Object(map) => map.values().collect(),
            _ => Vec::new(),
        });
        tokens.filter_map(as_special).collect()
    }

    /// Tokens by id, and whether a file says how each is matched.
    pub(super) fn added(&self) -> &[(u64, AddedToken, bool)] {
        &self.added
    }

    /// `tokenizer_class` of `tokenizer_config.json`.
    pub(super) fn class_name(&self) -> Option<String> {
        self.setting("tokenizer_class")?.as_str().map(str::to_owned)
    }

    /// A setting of `tokenizer_config.json`; `None` if it is absent or null.
    pub(super) fn setting(&self, name: &str) -> Option<&Value> {
        self.config.get(name).filter(|value| !value.is_null())
    }

    /// A boolean setting.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.setting(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => bail!("`{name}` in tokenizer_config.json is {other}; it must be true or false"),
        }
    }

    /// Refuse a tokenizer whose class interprets the same files differently.
    pub(super) fn class(&self, file: &Path, known: &[&str]) -> Result<()> {
        let model = json(&file.with_file_name("config.json"))?;
        let named = [("tokenizer_config.json", &self.config), ("config.json", &model)];
        let class = named.into_iter().find_map(|(at, config)| Some((at, config.get("tokenizer_class")?.as_str()?)));
        let Some((at, class)) = class else { return Ok(()) };
        let plain = class.strip_suffix("Fast").unwrap_or(class);
        if known.contains(&plain) || ["PreTrainedTokenizer", "TokenizersBackend"].contains(&plain) {
            return Ok(());
        }
        bail!(
            "{} can be read only as {}, but {at} says {class}; open the folder with `AutoTokenizer` of \
             transformers and save it, which writes the tokenizer.json that this program reads",
            file.display(),
            known.join(" or ")
        );
    }

    /// Make the tokens of `roles` special (if the vocabulary has them), and add the tokens beyond the vocabulary.
    pub(super) fn add_to(&self, library: &mut Library, roles: &[AddedToken], dir: &Path) -> Result<()> {
        let mut special: Vec<(u32, AddedToken)> = Vec::new();
        for role in roles {
            // A special token that is not in the vocabulary would get a new id, beyond the model's embedding.
            let Some(id) = library.token_to_id(&role.content) else { continue };
            if !special.iter().any(|(other, _)| *other == id) {
                let listed = self.added.iter().find(|(_, token, _)| token.content == role.content && token.special);
                special.push((id, listed.map_or(role, |(_, token, _)| token).clone()));
            }
        }
        special.sort_by_key(|(id, _)| *id);
        let special = special.into_iter().map(|(_, token)| token);
        library.add_special_tokens(special).map_err(|error| anyhow!(error))?;
        for (id, token, _) in &self.added {
            // `added_tokens.json` does not say that `[MASK]` is special.
            let role = roles.iter().find(|role| role.content == token.content && !token.special);
            library.add_tokens([role.unwrap_or(token).clone()]).map_err(|error| anyhow!(error))?;
            if library.token_to_id(&token.content).map(u64::from) != Some(*id) {
                bail!(
                    "the added token `{}` in {} has the id {id}, which does not follow the vocabulary",
                    token.content,
                    dir.display()
                );
            }
        }
        Ok(())
    }
}

/// Parse a token as in `added_tokens_decoder`.
fn as_added(token: &Value) -> Option<AddedToken> {
    let flag = |name: &str| token.get(name).and_then(Value::as_bool).unwrap_or(false);
    let content = token.get("content")?.as_str()?.to_owned();
    let added = AddedToken::from(content, flag("special")).normalized(flag("normalized"));
    Some(added.lstrip(flag("lstrip")).rstrip(flag("rstrip")).single_word(flag("single_word")))
}

/// Parse a special token: its text, or an object that also says how it is matched.
fn as_special(token: &Value) -> Option<AddedToken> {
    let mut token = match token.as_str() {
        Some(text) => verbatim(text.to_owned()),
        None => as_added(token)?,
    };
    token.special = true;
    Some(token)
}

/// A special token that is matched in the text before normalisation.
pub(super) fn verbatim(token: String) -> AddedToken {
    AddedToken::from(token, true).normalized(false)
}

/// The id of a token that the vocabulary in `file` must have.
pub(super) fn required(library: &Library, token: &str, file: &Path) -> Result<u32> {
    library.token_to_id(token).with_context(|| {
        format!(
            "{} does not have the special token `{token}`; if the vocabulary spells it differently, name it in \
             special_tokens_map.json",
            file.display()
        )
    })
}

/// The templates for a text and for a pair of texts, from patterns in which `{start}` and `{end}` stand for the two
/// tokens.
pub(super) fn template([start, end]: &[(String, u32); 2], single: &str, pair: &str) -> Result<TemplateProcessing> {
    let filled = |pattern: &str| pattern.replace("{start}", &start.0).replace("{end}", &end.0);
    TemplateProcessing::builder()
        .try_single(filled(single))
        .and_then(|builder| builder.try_pair(filled(pair)))
        .map_err(|error| anyhow!(error))?
        .special_tokens(vec![start.clone(), end.clone()])
        .build()
        .context("cannot build a template from its special tokens")
}

/// Parse a JSON file; null if it does not exist.
pub(super) fn json(path: &Path) -> Result<Value> {
    if !path.exists() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&pointer::read(path)?).with_context(|| format!("{} is not valid JSON", path.display()))
}

/// The special tokens that the library's post-processor puts before and after a text.
pub(super) fn surroundings(library: &Library) -> Result<(Vec<u32>, Vec<u32>)> {
    let ids = |special| -> Result<Vec<u32>> {
        Ok(library.encode_fast("a", special).map_err(|error| anyhow!(error))?.get_ids().to_vec())
    };
    let (bare, whole) = (ids(false)?, ids(true)?);
    let at = whole.windows(bare.len().max(1)).position(|window| window == bare);
    match at {
        Some(at) => Ok((whole[..at].to_vec(), whole[at + bare.len()..].to_vec())),
        None => bail!("it puts special tokens elsewhere than before and after a text, which `pipe` does not support"),
    }
}
