//! The names of classes that data sets store beside their rows.

use serde_json::Value;

/// The name that data sets give to the names of classes.
const CLASS: &str = "ClassLabel";

/// Columns, each with the names of its classes.
pub(crate) type Classes = Vec<(String, Vec<String>)>;

/// The columns with classes in `features` of the metadata that the `datasets` library writes: the value of the schema key
/// `huggingface`, or the content of `dataset_info.json`.
pub(crate) fn classes(metadata: &str) -> Classes {
    let Ok(metadata) = serde_json::from_str::<Value>(metadata) else { return Classes::new() };
    let features = metadata.get("info").unwrap_or(&metadata).get("features").and_then(Value::as_object);
    let names = |feature: &Value| -> Option<Vec<String>> {
        if feature.get("_type")?.as_str()? != CLASS {
            return None;
        }
        feature.get("names")?.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let of = |(column, feature): (&String, &Value)| Some((column.clone(), names(feature)?));
    features.into_iter().flatten().filter_map(of).collect()
}

/// The class names of one column.
pub(crate) fn class_names(classes: &Classes, column: &str) -> Option<Vec<String>> {
    classes.iter().find(|(name, _)| name == column).map(|(_, names)| names.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_those_of_a_class_label() {
        let info = r#"{"info": {"features": {"label": {"names": ["neg", "pos"], "_type": "ClassLabel"},
            "text": {"dtype": "string", "_type": "Value"}}}}"#;
        assert_eq!(class_names(&classes(info), "label").unwrap(), ["neg", "pos"]);
        assert_eq!(class_names(&classes(info), "text"), None);
        assert_eq!(classes("{"), Classes::new());
    }
}
