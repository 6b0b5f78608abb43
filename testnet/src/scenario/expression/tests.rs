//! What conditions mean.

use super::*;

/// Node 0 and 1 are honest, node 2 is called `liar`; node 1 does not answer.
struct Known;

impl Quantities for Known {
    fn honest(&self) -> Vec<usize> {
        vec![0, 1]
    }

    fn named(&self, name: &str) -> Vec<usize> {
        match name {
            "liar" => vec![2],
            _ => Vec::new(),
        }
    }

    fn of_network(&self, quantity: &Quantity) -> Option<f64> {
        match quantity {
            Quantity::Tips => Some(2.0),
            Quantity::RedRate => Some(0.005),
            _ => None,
        }
    }

    fn of_node(&self, node: usize, quantity: &Quantity) -> Option<f64> {
        match (node, quantity) {
            (1, _) => None,
            (_, Quantity::Peers) => Some(3.0),
            (_, Quantity::Metric(name)) if name == "triskel_blocks" => Some(7.5),
            (2, Quantity::Blocks) => Some(1.0),
            _ => None,
        }
    }

    fn logged(&self, node: usize, text: &str) -> Option<bool> {
        Some(node == 1 && text == "panicked")
    }
}

#[test]
fn conditions_hold_do_not_hold_or_are_not_known() {
    for (text, expected) in [
        ("tips == 2", Some(true)),
        ("tips differ", Some(true)),
        ("not tips differ", Some(false)),
        ("red_rate < 0.01 and tips != 1", Some(true)),
        ("peers >= 2", None),
        ("peers < 2", Some(false)),
        ("peers >= 2 on any node", Some(true)),
        ("peers > 3 on any node", None),
        ("blocks == 1 on liar", Some(true)),
        ("metric(\"triskel_blocks\") > 7 on any node", Some(true)),
        ("log(\"panicked\")", Some(true)),
        ("log(\"panicked\") on every node", Some(false)),
        ("not log(\"panicked\") and tips == 2", Some(false)),
        ("live == 2 or tips == 2", Some(true)),
        ("live == 2 and tips == 1", Some(false)),
        ("live == 2 or tips == 1", None),
        ("not (tips == 1 or red_rate > 0.5)", Some(true)),
    ] {
        let expression: Expression = text.parse().unwrap();
        assert_eq!(expression.evaluate(&Known), expected, "{text}");
        assert_eq!(expression.to_string().parse(), Ok(expression), "{text}");
    }
}

#[test]
fn what_is_no_condition_is_refused_with_what_is_wanted() {
    for (text, part) in [
        ("", "ends where one of `tips`"),
        ("tip == 1", "did you mean `tips`?"),
        ("tips = 1", "one of `<`, `<=`"),
        ("tips == one", "a number"),
        ("tips == 1 2", "`and`, `or`"),
        ("tips == 1 on any node", "of the whole network"),
        ("peers > 1 on any", "`node`"),
        ("(tips == 1", "`)`"),
        ("log(panicked)", "quotation marks"),
        ("metric(\"\") > 1", "quotation marks"),
        ("tips == 1; drop", "`;` is not allowed"),
    ] {
        let error = text.parse::<Expression>().unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
    let deep = format!("{}tips == 1{}", "(".repeat(30), ")".repeat(30));
    assert!(deep.parse::<Expression>().unwrap_err().contains("20 deep"));
}
