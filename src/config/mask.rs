//! Hides secrets in the text that faults show. Works on lines, not on parsed values, so that it also holds where
//! the file is no TOML. It hides too much rather than too little, and keeps every character's place.

/// Keys of a `[[token]]` whose values may be shown.
const SHOWN_OF_TOKEN: [&str; 3] = ["user", "role", "agency"];
/// Words that announce a secret anywhere in a file.
const ANNOUNCING: [&str; 7] = ["sha256", "secret", "password", "passwd", "passphrase", "private", "psk"];

/// The text with every character of a possible secret replaced by `*`; as many characters as before.
pub fn mask_secrets(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut in_token = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim();
        if bare.starts_with('[') {
            in_token = bare.trim_start_matches(['[', ' ', '\t', '"', '\'']).starts_with("token");
        }
        // `token = [{ ... }]` and `token.x = ...` have no header.
        in_token = in_token || bare.trim_start_matches(['"', '\'']).starts_with("token");
        let from = hidden_from(line, in_token).unwrap_or(line.len());
        masked.push_str(&line[..from]);
        masked.extend(line[from..].chars().map(|c| if matches!(c, '\n' | '\r') { c } else { '*' }));
    }
    masked
}

/// Where in a line the hiding begins.
fn hidden_from(line: &str, in_token: bool) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let announced = ANNOUNCING.iter().filter_map(|word| lower.find(word).map(|at| at + word.len())).min();
    if let Some(at) = announced {
        return Some(line[at..].find(['=', ':']).map_or(at, |equals| at + equals + 1));
    }
    let bare = line.trim();
    if !in_token || bare.is_empty() || bare.starts_with("[[token]]") {
        return None;
    }
    let Some(equals) = line.find('=') else {
        return Some(0);
    };
    let key = line[..equals].trim();
    // A second `=` may be a further key of an inline table.
    if SHOWN_OF_TOKEN.contains(&key) && !line[equals + 1..].contains('=') { None } else { Some(equals + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_way_of_writing_a_token_shows_its_secret() {
        let spellings = [
            "[[token]]\nuser = \"a\"\nsha256 = \"CANARY\"\n",
            "[[token]]\nsecret = \"CANARY\"\n",
            "[[token]]\nfoo = \"CANARY\"\n",
            "[[token]]\nenv = \"CANARY\"\n",
            "[[ token ]]\nfoo = \"\"\"\nCANARY\"\"\"\n",
            "[[token]\nCANARY\n",
            "[token]\nx='CANARY'",
            "token = [\n  { user = \"a\", value = \"CANARY\" },\n]\n",
            "[[\"token\"]]\nuser = \"a\" foo = \"CANARY\"\n",
            "[server]\npassword=CANARY\n",
            "[server]\nSHA256 : CANARY\n",
        ];
        for spelling in spellings {
            let masked = mask_secrets(spelling);
            assert!(!masked.contains("CANARY"), "{spelling:?} shows {masked:?}");
            assert_eq!(masked.chars().count(), spelling.chars().count());
        }
    }

    #[test]
    fn what_is_no_secret_stays_readable() {
        let text = "[[token]]\nuser = \"a\"\n\n[[agency]]\nid = \"police\"\n";
        assert_eq!(mask_secrets(text), text);
    }
}
