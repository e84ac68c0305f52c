//! The names of classes that data sets store beside their rows.

use serde_json::Value;

/// The name that data sets give to the names of classes.
const CLASS: &str = "ClassLabel";

/// The class names of a column in `features` of the metadata that the `datasets` library writes: the value of the schema
/// key `huggingface`, or the content of `dataset_info.json`.
pub(crate) fn class_names(metadata: &str, column: &str) -> Option<Vec<String>> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    let features = metadata.get("info").unwrap_or(&metadata).get("features")?;
    let feature = features.get(column)?;
    if feature.get("_type")?.as_str()? != CLASS {
        return None;
    }
    feature.get("names")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_those_of_a_class_label() {
        let info = r#"{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
            "text": {"dtype": "string", "_type": "Value"}}}}"#;
        assert_eq!(class_names(info, "label").unwrap(), ["neg", "pos"]);
        assert_eq!(class_names(info, "text"), None);
        assert_eq!(class_names("{", "label"), None);
    }
}
