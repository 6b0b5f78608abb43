//! Checks: claims about how conditions hold over time.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::expression::Expression;
use super::span::Span;
use super::when::When;

/// A claim about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "CheckTable", into = "CheckTable")]
pub struct Check {
    /// How often the condition must hold.
    pub claim: Claim,
    /// The condition.
    pub condition: Expression,
    /// From when on it counts; from the start of mining if absent.
    pub after: Option<When>,
    /// A name for people.
    pub name: Option<String>,
}

/// How often a condition must hold. A moment at which it is not known counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// At every moment.
    Always,
    /// At no moment.
    Never,
    /// At some moment no later than this, counted from `after`.
    Eventually(Span),
    /// At some moment of the run: otherwise the run did not try what it should.
    Sometimes,
}

impl Check {
    /// A claim from the start of mining on.
    pub const fn new(claim: Claim, condition: Expression) -> Self {
        Self {
            claim,
            condition,
            after: None,
            name: None,
        }
    }

    /// That counts from a moment on.
    pub fn after(self, when: impl Into<When>) -> Self {
        let after = Some(when.into());
        Self { after, ..self }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let condition = &self.condition;
        match self.claim {
            Claim::Always => write!(formatter, "always {condition}"),
            Claim::Never => write!(formatter, "never {condition}"),
            Claim::Eventually(within) => {
                write!(formatter, "eventually {condition} within {within}")
            }
            Claim::Sometimes => write!(formatter, "sometimes {condition}"),
        }?;
        match &self.after {
            Some(after) => write!(formatter, " after {after}"),
            None => Ok(()),
        }
    }
}

/// A claim about a run: one of always, never, eventually and sometimes, with a condition.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct CheckTable {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Must hold at every moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    always: Option<Expression>,
    /// Must hold at no moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    never: Option<Expression>,
    /// Must hold at some moment no later than `within`.
    #[serde(skip_serializing_if = "Option::is_none")]
    eventually: Option<Expression>,
    /// Must hold at some moment of the run: otherwise the run did not try what it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    sometimes: Option<Expression>,
    /// For eventually: how soon, counted from `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<Span>,
    /// From when on it counts; from the start of mining if absent. Not `every` and not `poisson`.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<When>,
}

impl TryFrom<CheckTable> for Check {
    type Error = String;

    fn try_from(table: CheckTable) -> Result<Self, String> {
        let CheckTable {
            name,
            always,
            never,
            eventually,
            sometimes,
            within,
            after,
        } = table;
        let missing = "`within` is missing: `eventually` needs to know how soon";
        let (claim, condition) = match (always, never, eventually, sometimes) {
            (Some(condition), None, None, None) => (Claim::Always, condition),
            (None, Some(condition), None, None) => (Claim::Never, condition),
            (None, None, Some(condition), None) => {
                (Claim::Eventually(within.ok_or(missing)?), condition)
            }
            (None, None, None, Some(condition)) => (Claim::Sometimes, condition),
            _ => {
                let text =
                    "exactly one of `always`, `never`, `eventually` and `sometimes` is wanted";
                return Err(text.to_owned());
            }
        };
        if within.is_some() && !matches!(claim, Claim::Eventually(_)) {
            return Err("`within` is allowed beside `eventually` alone".to_owned());
        }
        if after.as_ref().is_some_and(When::repeats) {
            return Err("`after` is one moment: `every` and `poisson` are not allowed".to_owned());
        }
        Ok(Self {
            claim,
            condition,
            after,
            name,
        })
    }
}

impl From<Check> for CheckTable {
    fn from(check: Check) -> Self {
        let mut table = Self {
            name: check.name,
            after: check.after,
            ..Self::default()
        };
        let condition = Some(check.condition);
        match check.claim {
            Claim::Always => table.always = condition,
            Claim::Never => table.never = condition,
            Claim::Sometimes => table.sometimes = condition,
            Claim::Eventually(within) => {
                table.eventually = condition;
                table.within = Some(within);
            }
        }
        table
    }
}

impl JsonSchema for Check {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Check".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        CheckTable::json_schema(generator)
    }
}
