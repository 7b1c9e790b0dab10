//! From the types of this room to custom resource definitions: a structural schema (no references, no nulls, no formats that
//! Kubernetes does not know) with the doc comments as its manual. Called by `crd::all`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceValidation, JSONSchemaProps,
};
use schemars::JsonSchema;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

/// Puts the schema of spec and status into a definition that has none yet.
pub(super) fn with_schema<Spec: JsonSchema, Status: JsonSchema>(
    crd: CustomResourceDefinition,
    about: &str,
) -> CustomResourceDefinition {
    let mut properties = Map::new();
    properties.insert("spec".to_owned(), structural::<Spec>());
    let status = structural::<Status>();
    if status.get("properties").is_some() {
        properties.insert("status".to_owned(), status);
    }
    complete(
        crd,
        json!({"type": "object", "description": about, "required": ["spec"], "properties": properties}),
    )
}

/// Sets the schema of every version.
fn complete(mut crd: CustomResourceDefinition, schema: Value) -> CustomResourceDefinition {
    // A schema of ours that is no JSONSchemaProps leaves the definition without one, which the tests refuse.
    let schema: Option<JSONSchemaProps> = serde_json::from_value(schema).ok();
    for version in &mut crd.spec.versions {
        version.schema = Some(CustomResourceValidation { open_api_v3_schema: schema.clone() });
    }
    crd
}

/// The structural schema of a type.
fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.contract = Contract::Deserialize;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    straighten(&mut schema);
    schema
}

/// Rewrites one schema, and all below it.
fn straighten(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("title");
    drop_null(object);
    gather_words(object);
    if let Some(text) = object.get("description").and_then(Value::as_str) {
        let text = joined(text);
        object.insert("description".to_owned(), text.into());
    }
    match object.get("format").and_then(Value::as_str) {
        Some("uint16" | "uint32") => {
            object.insert("format".to_owned(), "int32".into());
            object.entry("maximum").or_insert(i32::MAX.into());
        }
        Some("uint64") => {
            object.insert("format".to_owned(), "int64".into());
        }
        _ => {}
    }
    if object.get("additionalProperties").is_some_and(Value::is_boolean) {
        object.remove("additionalProperties");
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = object.get_mut(key) {
            straighten(below);
        }
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(straighten);
    }
}

/// An optional field may be left out; it may not be null, which would be a second way to say the same.
fn drop_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = object.get("anyOf") {
        let real: Vec<&Value> =
            choices.iter().filter(|choice| *choice != &json!({"type": "null"})).collect();
        if let [Value::Object(real)] = real.as_slice() {
            let mut real = real.clone();
            object.remove("anyOf");
            // What the field says of itself goes before what its type says.
            real.extend(std::mem::take(object));
            *object = real;
        }
    }
}

/// Words with docs of their own come as one constant each: makes an enum of them and tells each in the description.
fn gather_words(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("oneOf") else { return };
    let mut words = Vec::new();
    let mut told = String::new();
    for choice in choices {
        let Some(word) = choice.get("const") else { return };
        words.push(word.clone());
        if let (Some(word), Some(text)) =
            (word.as_str(), choice.get("description").and_then(Value::as_str))
        {
            for part in ["\n\n", word, ": ", text] {
                told.push_str(part);
            }
        }
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), "string".into());
    object.insert("enum".to_owned(), Value::Array(words));
    let about = object.get("description").and_then(Value::as_str).unwrap_or_default();
    let about = format!("{about}{told}");
    object.insert("description".to_owned(), about.trim().into());
}

/// Joins the lines of each paragraph, so that `kubectl explain` may break them where it likes.
fn joined(text: &str) -> String {
    let paragraphs: Vec<String> = text
        .split("\n\n")
        .map(|paragraph| paragraph.split('\n').map(str::trim).collect::<Vec<_>>().join(" "))
        .collect();
    paragraphs.join("\n").replace('`', "")
}
