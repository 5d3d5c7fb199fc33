//! Rust source as words and signs, without comments, strings and what only tests see.

/// A word, or one sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Sign(char),
    /// `::`
    Path,
}

/// A token with the line that it stands on, counted from 1.
pub(super) type At<'a> = (Token<'a>, usize);

/// The tokens of a source text, without the items under `#[cfg(test)]`.
pub(super) fn tokens(source: &str) -> Vec<At<'_>> {
    without_tests(&all(source))
}

/// Every token. Literals and lifetimes are left away: no path is in them.
fn all(source: &str) -> Vec<At<'_>> {
    let bytes = source.as_bytes();
    let mut out = Vec::new();
    let mut line = 1;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = &source[at..];
        let len = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(len) = raw_string(rest) {
            len
        } else if byte == b'"' || rest.starts_with("b\"") || rest.starts_with("c\"") {
            let quote = if byte == b'"' { 0 } else { 1 };
            quoted(rest, quote, b'"')
        } else if rest.starts_with("b'") {
            quoted(rest, 1, b'\'')
        } else if byte == b'\'' {
            quote_or_lifetime(rest)
        } else if word_start(rest) {
            let len = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len());
            let (raw, len) = match rest.strip_prefix("r#") {
                // `r#type`; a raw string was seen above.
                Some(name) if len == 1 => {
                    let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_'));
                    (true, 2 + end.unwrap_or(name.len()))
                }
                _ => (false, len),
            };
            let word = &rest[if raw { 2 } else { 0 }..len];
            out.push((Token::Word(word), line));
            len
        } else if rest.starts_with("::") {
            out.push((Token::Path, line));
            2
        } else {
            let sign = rest.chars().next().unwrap_or(' ');
            if !sign.is_whitespace() {
                out.push((Token::Sign(sign), line));
            }
            sign.len_utf8()
        };
        let end = (at + len.max(1)).min(bytes.len());
        line += bytes[at..end].iter().filter(|b| **b == b'\n').count();
        at = end;
    }
    out
}

fn word_start(rest: &str) -> bool {
    rest.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// The length of `r"…"`, `br#"…"#` and the like, if one begins here.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .filter(|prefix| rest.starts_with(prefix))
        .max_by_key(|prefix| prefix.len())?;
    let hashes = rest[prefix.len()..]
        .bytes()
        .take_while(|b| *b == b'#')
        .count();
    let start = prefix.len() + hashes;
    if rest.as_bytes().get(start) != Some(&b'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = &rest[start + 1..];
    Some(start + 1 + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

fn quoted(rest: &str, prefix: usize, quote: u8) -> usize {
    let bytes = rest.as_bytes();
    let mut at = prefix + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A character, or the quote and the name of a lifetime.
fn quote_or_lifetime(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => quoted(rest, 0, b'\''),
        (Some(_), Some((at, '\''))) => at + 1,
        (Some((_, c)), _) if c.is_alphanumeric() || c == '_' => {
            1 + rest[1..]
                .find(|c: char| !(c.is_alphanumeric() || c == '_'))
                .unwrap_or(rest.len() - 1)
        }
        _ => 1,
    }
}

/// Leaves away each item that stands under `#[cfg(test)]`, or a condition that has `test` in it
/// and no `not`.
fn without_tests<'a>(tokens: &[At<'a>]) -> Vec<At<'a>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match attribute(tokens, at) {
            Some((end, true)) => at = item_end(tokens, end),
            Some((end, false)) => {
                out.extend_from_slice(&tokens[at..end]);
                at = end;
            }
            None => {
                out.push(tokens[at]);
                at += 1;
            }
        }
    }
    out
}

/// The end of an attribute that begins here, and whether it is for tests alone.
fn attribute(tokens: &[At<'_>], at: usize) -> Option<(usize, bool)> {
    let sign = |at: usize, sign| tokens.get(at).is_some_and(|t| t.0 == Token::Sign(sign));
    if !sign(at, '#') || !sign(at + 1, '[') {
        return None;
    }
    let mut depth = 0usize;
    let mut end = at + 1;
    loop {
        if sign(end, '[') {
            depth += 1;
        } else if sign(end, ']') {
            depth -= 1;
        }
        end += 1;
        if depth == 0 || end >= tokens.len() {
            break;
        }
    }
    let has = |word| {
        tokens[at..end]
            .iter()
            .any(|token| token.0 == Token::Word(word))
    };
    Some((end, has("cfg") && has("test") && !has("not")))
}

/// The end of the item that begins here, with further attributes before it.
fn item_end(tokens: &[At<'_>], mut at: usize) -> usize {
    while let Some((end, _)) = attribute(tokens, at) {
        at = end;
    }
    let mut depth = 0usize;
    while let Some((token, _)) = tokens.get(at) {
        at += 1;
        match token {
            Token::Sign('{' | '(' | '[') => depth += 1,
            Token::Sign(closing @ ('}' | ')' | ']')) => {
                depth = depth.saturating_sub(1);
                if depth == 0 && *closing == '}' {
                    return at;
                }
            }
            Token::Sign(';') if depth == 0 => return at,
            _ => {}
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<&str> {
        tokens(source)
            .into_iter()
            .filter_map(|(token, _)| match token {
                Token::Word(word) => Some(word),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn text_that_is_no_code_is_left_away() {
        assert_eq!(words("a /* b /* c */ d */ e // f\ng"), ["a", "e", "g"]);
        assert_eq!(words("a \"b \\\" c\" d"), ["a", "d"]);
        assert_eq!(words("r#\"crate::x \" y\"# b b\"c\" br\"d\" e"), ["b", "e"]);
        assert_eq!(words("'a' x '\\'' y <'b> z"), ["x", "y", "z"]);
        assert_eq!(words("r#type"), ["type"]);
    }

    #[test]
    fn tests_are_left_away() {
        let source = "use a;\n#[cfg(test)]\nuse b;\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn f() { g } }\n#[cfg(not(test))]\nuse c;";
        assert_eq!(
            words(source),
            ["use", "a", "cfg", "not", "test", "use", "c"]
        );
    }

    #[test]
    fn lines_are_counted() {
        let found = tokens("a\n\"x\ny\"\n::b");
        assert_eq!(
            found,
            [
                (Token::Word("a"), 1),
                (Token::Path, 4),
                (Token::Word("b"), 4)
            ]
        );
    }
}
