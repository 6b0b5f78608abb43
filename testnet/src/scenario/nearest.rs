//! What somebody may have meant who wrote a word that is not known.

/// The word that differs least, if it differs by no more than a third of its letters.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates = known
        .into_iter()
        .map(|other| (distance(word, other), other));
    let (distance, nearest) = candidates.min()?;
    (distance <= nearest.chars().count().div_ceil(3)).then_some(nearest)
}

/// `, did you mean ...?` where there is something to suggest.
pub(super) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    match nearest(word, known) {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => String::new(),
    }
}

/// Words as a list for people, each in backticks. Of many only the first are shown.
pub(super) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 40;
    let words: Vec<_> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.len() {
        0 => "nothing".to_owned(),
        count if count > SHOWN => {
            format!("{} and {} more", words[..SHOWN].join(", "), count - SHOWN)
        }
        _ => words.join(", "),
    }
}

/// Letters to insert, delete or replace (Levenshtein), or to swap with their neighbour.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<_>, Vec<_>) = (left.chars().collect(), right.chars().collect());
    let mut rows = vec![(0..=right.len()).collect::<Vec<usize>>()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
            if swapped {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["blocks", "nodes", "transfers"];
        assert_eq!(nearest("blokcs", known), Some("blocks"));
        assert_eq!(nearest("node", known), Some("nodes"));
        assert_eq!(nearest("zebra", known), None);
    }
}
