//! Rust source as tokens with their lines: comments and the insides of literals are gone, so that no rule trips
//! over prose. Knows just enough of the language for the rules beside it: functions, test code, paths.

/// One token: an identifier or keyword, `::`, one punctuation character, or `""` for any literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A file ready to be judged.
pub struct Source {
    /// From the package's root, with forward slashes.
    pub path: String,
    pub lines: usize,
    pub tokens: Vec<Token>,
}

/// A function with a body.
pub struct Function<'a> {
    pub name: &'a Token,
    /// From `fn` to the closing brace.
    pub lines: usize,
    /// Carries an attribute such as `#[test]` or `#[tokio::test]`.
    pub is_test: bool,
}

/// A path such as `crate::domain::id`, one for each leaf of a `use` tree.
#[derive(Debug, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    /// Modules around it inside the file.
    pub depth: usize,
    pub in_test: bool,
}

impl Source {
    pub fn read(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), lines: text.lines().count(), tokens: tokens(text) }
    }

    pub fn is(&self, at: usize, texts: &[&str]) -> bool {
        texts.iter().enumerate().all(|(i, text)| self.text(at + i) == *text)
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// All functions that have a body, nested ones too.
    pub fn functions(&self) -> Vec<Function<'_>> {
        let mut functions = Vec::new();
        for at in 0..self.tokens.len() {
            if self.text(at) != "fn" || !self.text(at + 1).starts_with(is_word) {
                continue;
            }
            if let Some(end) = self.body(at).and_then(|open| self.closing(open)) {
                let lines = self.tokens[end].line - self.tokens[at].line + 1;
                functions.push(Function { name: &self.tokens[at + 1], lines, is_test: self.has_test_attribute(at) });
            }
        }
        functions
    }

    /// Every path of two or more segments, and every leaf of every `use`.
    pub fn paths(&self) -> Vec<Path> {
        let tests = self.test_ranges();
        let (mut paths, mut modules, mut braces, mut at) = (Vec::new(), Vec::new(), 0usize, 0);
        while at < self.tokens.len() {
            match self.text(at) {
                "{" => braces += 1,
                "}" => {
                    braces = braces.saturating_sub(1);
                    modules.retain(|opened| *opened <= braces);
                }
                "mod" if self.text(at + 2) == "{" => modules.push(braces + 1),
                word if word.starts_with(is_word) && self.starts_path(at) => {
                    let in_test = tests.iter().any(|(from, to)| (*from..=*to).contains(&at));
                    let mut leaves = Vec::new();
                    let end = self.read_path(at, &mut Vec::new(), &mut leaves);
                    paths.extend(leaves.into_iter().map(|(segments, line)| Path {
                        segments,
                        line,
                        depth: modules.len(),
                        in_test,
                    }));
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        paths
    }

    fn starts_path(&self, at: usize) -> bool {
        self.text(at + 1) == "::" || at > 0 && self.text(at - 1) == "use"
    }

    /// Reads `a::b::{c, d::e}` from `at`; returns the first token behind it.
    fn read_path(&self, mut at: usize, prefix: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, usize)>) -> usize {
        let depth = prefix.len();
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        loop {
            if self.text(at) == "{" && (at == 0 || matches!(self.text(at - 1), "::" | "use")) {
                at += 1;
                while !matches!(self.text(at), "}" | "") {
                    let next = self.read_path(at, prefix, leaves);
                    at = if next == at || self.text(next) == "," { next + 1 } else { next };
                }
                at += 1;
                break;
            }
            if !self.text(at).starts_with(|c| is_word(c) || c == '*') {
                leaves.push((prefix.clone(), line));
                break;
            }
            prefix.push(self.text(at).to_owned());
            at += 1;
            if self.text(at) != "::" {
                leaves.push((prefix.clone(), line));
                if self.text(at) == "as" {
                    at += 2;
                }
                break;
            }
            at += 1;
        }
        prefix.truncate(depth);
        at
    }

    /// From the token after `#[cfg(test)]` to the end of what it governs.
    fn test_ranges(&self) -> Vec<(usize, usize)> {
        let starts = (0..self.tokens.len()).filter(|at| self.is(*at, &["#", "[", "cfg", "(", "test", ")", "]"]));
        starts.filter_map(|at| Some((at, self.body(at + 7).and_then(|open| self.closing(open))?))).collect()
    }

    /// The brace that opens the item at `at`; `None` if the item ends without one.
    fn body(&self, at: usize) -> Option<usize> {
        let mut nesting = 0usize;
        for (i, token) in self.tokens.iter().enumerate().skip(at) {
            match token.text.as_str() {
                "(" | "[" => nesting += 1,
                ")" | "]" => nesting = nesting.checked_sub(1)?,
                "{" if nesting == 0 => return Some(i),
                ";" if nesting == 0 => return None,
                _ => {}
            }
        }
        None
    }

    fn closing(&self, open: usize) -> Option<usize> {
        let mut nesting = 0usize;
        for (i, token) in self.tokens.iter().enumerate().skip(open) {
            match token.text.as_str() {
                "{" => nesting += 1,
                "}" if nesting == 1 => return Some(i),
                "}" => nesting -= 1,
                _ => {}
            }
        }
        None
    }

    fn has_test_attribute(&self, function: usize) -> bool {
        let mut at = function;
        while at > 0 && !matches!(self.text(at - 1), "}" | ";" | "{") {
            at -= 1;
            if self.text(at) == "test" && matches!(self.text(at + 1), "]" | "(") {
                return true;
            }
        }
        false
    }
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let end = token_end(&chars, at);
        let word: String = chars[at..end].iter().collect();
        let is_prose = word.starts_with(char::is_whitespace) || word.starts_with("//") || word.starts_with("/*");
        if !is_prose {
            let is_literal = word.len() > 1 && word.ends_with(['"', '\'', '#']);
            let text = if is_literal { "\"\"" } else { word.trim_start_matches("r#") };
            tokens.push(Token { text: text.to_owned(), line });
        }
        line += chars[at..end].iter().filter(|c| **c == '\n').count();
        at = end;
    }
    tokens
}

/// Where the token, comment, literal or white space at `at` ends.
fn token_end(chars: &[char], at: usize) -> usize {
    let peek = |offset: usize| chars.get(at + offset).copied().unwrap_or('\0');
    match (chars[at], peek(1)) {
        ('/', '/') => skip_while(chars, at, |c| c != '\n'),
        ('/', '*') => comment_end(chars, at),
        ('"', _) => quoted_end(chars, at + 1, '"'),
        ('\'', '\\') => quoted_end(chars, at + 1, '\''),
        ('\'', _) if peek(2) == '\'' => at + 3,
        ('\'', c) if is_word(c) => skip_while(chars, at + 1, is_word),
        (':', ':') => at + 2,
        (c, _) if c.is_whitespace() => skip_while(chars, at, char::is_whitespace),
        (c, _) if is_word(c) => word_end(chars, at),
        _ => at + 1,
    }
}

/// A word, or a literal that begins like one: `r"…"`, `br#"…"#`, `b'…'`, `r#word`.
fn word_end(chars: &[char], at: usize) -> usize {
    let end = skip_while(chars, at, is_word);
    let word: String = chars[at..end].iter().collect();
    match (word.as_str(), chars.get(end)) {
        ("b" | "c", Some('"')) => quoted_end(chars, end + 1, '"'),
        ("b", Some('\'')) => quoted_end(chars, end + 1, '\''),
        ("r" | "br" | "cr", Some('"' | '#')) => {
            let quote = skip_while(chars, end, |c| c == '#');
            if chars.get(quote) != Some(&'"') {
                return skip_while(chars, quote, is_word);
            }
            let hashes = quote - end;
            let closes = |i: usize| chars[i] == '"' && (1..=hashes).all(|k| chars.get(i + k) == Some(&'#'));
            (quote + 1..chars.len()).find(|i| closes(*i)).map_or(chars.len(), |i| i + 1 + hashes)
        }
        _ => end,
    }
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut nesting = 0usize;
    while at < chars.len() {
        let two = (chars[at], chars.get(at + 1).copied().unwrap_or('\0'));
        nesting = match two {
            ('/', '*') => nesting + 1,
            ('*', '/') => nesting - 1,
            _ => nesting,
        };
        at += if matches!(two, ('/', '*') | ('*', '/')) { 2 } else { 1 };
        if nesting == 0 {
            break;
        }
    }
    at.min(chars.len())
}

fn skip_while(chars: &[char], at: usize, keep: impl Fn(char) -> bool) -> usize {
    (at..chars.len()).find(|i| !keep(chars[*i])).unwrap_or(chars.len())
}
