//! The JSON Schema of scenarios, from the types themselves.

use super::Scenario;

/// The schema, as editors read it.
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Scenario).to_value();
    schema["$id"] = "triskel-scenario.schema.json".into();
    // Resolved while files are read, so the scenario itself does not have it.
    schema["properties"]["extends"] = serde_json::json!({
        "description": "A file that this one changes, relative to it: tables are merged, everything else is replaced.",
        "type": "string",
    });
    if let Some(required) = schema["required"].as_array_mut() {
        // What a file leaves out may stand in the one that it extends.
        required.clear();
    }
    schema
}
