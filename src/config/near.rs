//! "Did you mean": the nearest of the known words, by how many letters differ.

/// The candidate that a person most likely meant, if one is near enough to be worth saying.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let far = (word.chars().count() / 3).clamp(1, 4);
    let close = candidates.into_iter().map(|candidate| (distance(word, candidate, far), candidate));
    close
        .filter(|(differing, candidate)| *differing <= far || extends(word, candidate))
        .min()
        .map(|(_, candidate)| candidate)
}

/// `hold_max` means `hold_max_ms`: a unit was left out.
fn extends(word: &str, candidate: &str) -> bool {
    word.len() >= 3 && candidate.strip_prefix(word).is_some_and(|rest| rest.starts_with('_'))
}

/// Letters to insert, remove, replace or swap with a neighbour; `most + 1` stands for more.
fn distance(a: &str, b: &str, most: usize) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most {
        return most + 1;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(from != to)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_fingers_finds_the_word_and_nonsense_finds_none() {
        let keys = ["hold_max_ms", "hang_ms", "rx_end_ms", "codecs"];
        assert_eq!(nearest("hold_mx_ms", keys), Some("hold_max_ms"));
        assert_eq!(nearest("hold_max", keys), Some("hold_max_ms"));
        assert_eq!(nearest("hold_max_s", keys), Some("hold_max_ms"));
        assert_eq!(nearest("naem", ["name"]), Some("name"), "two neighbours swapped are one slip");
        assert_eq!(nearest("banana", keys), None);
    }
}
