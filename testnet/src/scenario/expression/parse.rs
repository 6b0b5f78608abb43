//! Reads conditions.

use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Comparison, Expression, On, Quantity};
use crate::scenario::limits::{MAX_NESTING, MAX_TEXT_BYTES};
use crate::scenario::nearest::{list, suggestion};

/// A word, a sign, or a text in quotes.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Sign(String),
    Quoted(String),
}

impl FromStr for Expression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(format!(
                "a condition of at most {MAX_TEXT_BYTES} bytes is allowed here"
            ));
        }
        let mut reader = Reader {
            tokens: tokens(text)?,
            next: 0,
            depth: 0,
        };
        let expression = reader.either()?;
        match reader.peek() {
            None => Ok(expression),
            Some(_) => Err(reader.wanted("`and`, `or`, `on` or the end")),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length_while =
            |fits: fn(char) -> bool| rest.find(|letter| !fits(letter)).unwrap_or(rest.len());
        let is_word =
            |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.' | '-' | '+');
        let length = match first {
            '"' => {
                let end = rest[1..].find('"').ok_or("a quotation mark has no end")?;
                tokens.push(Token::Quoted(rest[1..=end].to_owned()));
                end + 2
            }
            '(' | ')' => 1,
            '<' | '=' | '>' | '!' => length_while(|letter| matches!(letter, '<' | '=' | '>' | '!')),
            _ if is_word(first) => length_while(is_word),
            _ => return Err(format!("`{first}` is not allowed in a condition")),
        };
        match first {
            '"' => {}
            _ if is_word(first) => tokens.push(Token::Word(rest[..length].to_owned())),
            _ => tokens.push(Token::Sign(rest[..length].to_owned())),
        }
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Reader {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.peek().cloned();
        self.next += 1;
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Word(found)) if found == word);
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(found)) if found == sign);
        self.next += usize::from(found);
        found
    }

    fn wanted(&self, what: &str) -> String {
        match self.peek() {
            Some(Token::Word(found) | Token::Sign(found)) => {
                format!("`{found}` is not allowed there, {what} is")
            }
            Some(Token::Quoted(found)) => format!("{found:?} is not allowed there, {what} is"),
            None => format!("the condition ends where {what} is wanted"),
        }
    }

    fn either(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.both()?];
        while self.take_word("or") {
            parts.push(self.both()?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::Or(parts),
        })
    }

    fn both(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.negated()?];
        while self.take_word("and") {
            parts.push(self.negated()?);
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::And(parts),
        })
    }

    fn negated(&mut self) -> Result<Expression, String> {
        if self.take_word("not") {
            self.deeper()?;
            let negated = Expression::Not(Box::new(self.negated()?));
            self.depth -= 1;
            return Ok(negated);
        }
        if self.take_sign("(") {
            self.deeper()?;
            let inner = self.either()?;
            self.depth -= 1;
            self.close()?;
            return Ok(inner);
        }
        self.condition()
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        match self.depth > MAX_NESTING {
            true => Err(format!(
                "brackets within brackets are allowed {MAX_NESTING} deep"
            )),
            false => Ok(()),
        }
    }

    fn close(&mut self) -> Result<(), String> {
        match self.take_sign(")") {
            true => Ok(()),
            false => Err(self.wanted("`)`")),
        }
    }

    fn condition(&mut self) -> Result<Expression, String> {
        let names = || {
            Quantity::NAMED
                .iter()
                .map(|(name, _)| *name)
                .chain(["metric", "log"])
        };
        let Some(Token::Word(word)) = self.peek().cloned() else {
            return Err(self.wanted(&format!("one of {}", list(names()))));
        };
        self.next += 1;
        if word == "log" {
            let text = self.quoted()?;
            let on = self.on()?.unwrap_or(On::Any);
            return Ok(Expression::Log { text, on });
        }
        let quantity = match Quantity::NAMED.iter().find(|(name, _)| *name == word) {
            Some((_, quantity)) => quantity.clone(),
            None if word == "metric" => Quantity::Metric(self.quoted()?),
            None => {
                let suggestion = suggestion(&word, names());
                return Err(format!(
                    "`{word}` is not known, {} are{suggestion}",
                    list(names())
                ));
            }
        };
        if quantity == Quantity::Tips && self.take_word("differ") {
            return Ok(Expression::Compare {
                quantity,
                comparison: Comparison::More,
                value: 1.0,
                on: On::Every,
            });
        }
        self.comparison(quantity)
    }

    fn comparison(&mut self, quantity: Quantity) -> Result<Expression, String> {
        let signs = list(Comparison::ALL.iter().map(|(sign, _)| *sign));
        let sign = match self.peek() {
            Some(Token::Sign(found)) => Comparison::ALL.iter().find(|(sign, _)| sign == found),
            _ => None,
        };
        let comparison = sign
            .ok_or_else(|| self.wanted(&format!("one of {signs}")))?
            .1;
        self.next += 1;
        let value = match self.peek() {
            Some(Token::Word(word)) => word.parse::<f64>().ok().filter(|value| value.is_finite()),
            _ => None,
        };
        let value = value.ok_or_else(|| self.wanted("a number"))?;
        self.next += 1;
        let on = self.on()?;
        if on.is_some() && quantity.is_of_network() {
            return Err(format!(
                "`{quantity}` is of the whole network, `on` is not allowed behind it"
            ));
        }
        Ok(Expression::Compare {
            quantity,
            comparison,
            value,
            on: on.unwrap_or(On::Every),
        })
    }

    fn quoted(&mut self) -> Result<String, String> {
        if !self.take_sign("(") {
            return Err(self.wanted("`(\"...\")`"));
        }
        match self.take() {
            Some(Token::Quoted(text)) if !text.is_empty() => {
                self.close()?;
                Ok(text)
            }
            _ => {
                self.next -= 1;
                Err(self.wanted("a text in quotation marks"))
            }
        }
    }

    fn on(&mut self) -> Result<Option<On>, String> {
        if !self.take_word("on") {
            return Ok(None);
        }
        let Some(Token::Word(word)) = self.peek().cloned() else {
            return Err(self.wanted("`every node`, `any node` or a name"));
        };
        self.next += 1;
        let on = match word.as_str() {
            "every" => On::Every,
            "any" => On::Any,
            _ => return Ok(Some(On::Named(word))),
        };
        match self.take_word("node") {
            true => Ok(Some(on)),
            false => Err(self.wanted("`node`")),
        }
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Expression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A condition on the network: comparisons of quantities with numbers, joined by and, or, not.",
            "type": "string",
            "examples": ["tips == 1", "peers >= 2 on every node", "metric(\"triskel_blocks\") > 5 on any node"],
        })
    }
}
