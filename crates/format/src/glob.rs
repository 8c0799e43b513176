//! Globs on module paths, with the meaning of Python's `fnmatch.fnmatchcase`.
//!
//! `*` is any text, dots and slashes included, `?` one character, `[abc]`, `[a-c]` one of a set, `[!x]`
//! none of it. There are no braces and no escapes; a `[` without its `]` is itself. Sets are read as
//! `fnmatch.translate` of Python 3.12 reads them, down to ranges that run backwards.
//!
//! The matcher is our own: patterns come from configs, and no regular expression is made of them.
//! A mismatch goes back to the last `*` only, so the cost is at most pattern times text and, for the
//! patterns that make backtracking matchers explode, linear in the text.

/// Longest pattern, in bytes. Configs name modules; nothing longer is one.
const LONGEST_PATTERN: usize = 4096;

/// Why a pattern is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// The pattern is too long.
    #[error("a pattern of {len} bytes is over the limit of {limit}")]
    TooLong {
        /// Its length.
        len: u64,
        /// The limit.
        limit: u64,
    },
}

/// One pattern, ready to match.
///
/// ```
/// use quantscope_format::Glob;
/// let glob = Glob::new("model.layers.[!0]*.q_proj").unwrap();
/// assert!(glob.is_match("model.layers.12.self_attn.q_proj"));
/// assert!(!glob.is_match("model.layers.0.self_attn.q_proj"));
/// ```
#[derive(Debug, Clone)]
pub struct Glob {
    pattern: String,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone)]
enum Token {
    /// `*`
    AnyText,
    /// `?`
    AnyChar,
    /// A character that stands for itself.
    Char(char),
    /// `[…]`
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::AnyText => false,
            Self::AnyChar => true,
            Self::Char(own) => *own == c,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// If it is too long to name a module.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        if pattern.len() > LONGEST_PATTERN {
            return Err(GlobError::TooLong { len: pattern.len() as u64, limit: LONGEST_PATTERN as u64 });
        }
        let chars: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::with_capacity(chars.len());
        let mut rest = chars.as_slice();
        while let [first, after @ ..] = rest {
            rest = after;
            tokens.push(match first {
                '*' if matches!(tokens.last(), Some(Token::AnyText)) => continue,
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                '[' => match closing(after) {
                    Some(end) => {
                        let (set, behind) = after.split_at(end);
                        rest = behind.get(1..).unwrap_or_default();
                        read_set(set)
                    }
                    None => Token::Char('['),
                },
                other => Token::Char(*other),
            });
        }
        Ok(Self { pattern: pattern.to_owned(), tokens })
    }

    /// Whether the whole of `path` matches.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        let mut rest = path.chars();
        let mut at = 0;
        // The last `*` met: the token after it, and the text it has not swallowed yet.
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let here = rest.clone();
            let c = rest.next();
            match (self.tokens.get(at), c) {
                (Some(Token::AnyText), _) => {
                    at += 1;
                    rest = here;
                    if at == self.tokens.len() {
                        return true;
                    }
                    star = Some((at, rest.clone()));
                }
                (Some(token), Some(c)) if token.takes(c) => at += 1,
                (None, None) => return true,
                // What is left of the text is too short for what is left of the pattern.
                (Some(_), None) => return false,
                (_, Some(_)) => {
                    // The last `*` takes one character more.
                    let Some((after, left)) = &mut star else { return false };
                    left.next();
                    at = *after;
                    rest = left.clone();
                }
            }
        }
    }

    /// The pattern as it was given.
    #[must_use]
    pub fn pattern(&self) -> &str {
        &self.pattern
    }
}

/// Several patterns in their order.
#[derive(Debug, Clone, Default)]
pub struct GlobSet {
    globs: Vec<Glob>,
}

impl GlobSet {
    /// Reads patterns.
    ///
    /// # Errors
    /// If one of them is too long.
    pub fn new<I: IntoIterator<Item = S>, S: AsRef<str>>(patterns: I) -> Result<Self, GlobError> {
        let globs =
            patterns.into_iter().map(|pattern| Glob::new(pattern.as_ref())).collect::<Result<_, _>>()?;
        Ok(Self { globs })
    }

    /// Whether any pattern matches.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        self.first_match(path).is_some()
    }

    /// Index of the first pattern that matches.
    #[must_use]
    pub fn first_match(&self, path: &str) -> Option<usize> {
        self.globs.iter().position(|glob| glob.is_match(path))
    }

    /// The patterns in their order.
    #[must_use]
    pub fn globs(&self) -> &[Glob] {
        &self.globs
    }
}

/// Index of the `]` that closes a set whose text begins right after `[`. A `]` that comes first, or
/// first after `!`, belongs to the set.
fn closing(text: &[char]) -> Option<usize> {
    let skip = usize::from(text.first() == Some(&'!'));
    let skip = skip + usize::from(text.get(skip) == Some(&']'));
    text.iter().skip(skip).position(|c| *c == ']').map(|i| i + skip)
}

/// Reads what stands between `[` and `]`, in the steps of `fnmatch.translate`: the text is cut at the
/// hyphens that make ranges, ranges that run backwards are dropped with both their ends.
fn read_set(text: &[char]) -> Token {
    let negated = text.first() == Some(&'!');
    let text = text.get(usize::from(negated)..).unwrap_or_default();
    let mut chunks: Vec<Vec<char>> = Vec::new();
    let mut rest = text;
    // A hyphen that comes first is itself, as is one right after a range's end.
    let mut search_from = 1;
    while let Some(hyphen) = rest.iter().skip(search_from).position(|c| *c == '-').map(|i| i + search_from) {
        let (chunk, behind) = rest.split_at(hyphen);
        chunks.push(chunk.to_vec());
        rest = behind.get(1..).unwrap_or_default();
        search_from = 2;
    }
    match chunks.last_mut() {
        Some(last) if rest.is_empty() => last.push('-'),
        _ => chunks.push(rest.to_vec()),
    }
    for k in (1..chunks.len()).rev() {
        let backwards =
            match (chunks.get(k - 1).and_then(|c| c.last()), chunks.get(k).and_then(|c| c.first())) {
                (Some(low), Some(high)) => low > high,
                _ => false,
            };
        if backwards {
            let right = chunks.remove(k);
            if let Some(left) = chunks.get_mut(k - 1) {
                left.pop();
                left.extend(right.into_iter().skip(1));
            }
        }
    }
    let mut ranges: Vec<(char, char)> = Vec::new();
    for (k, chunk) in chunks.iter().enumerate() {
        for (i, &c) in chunk.iter().enumerate() {
            match ranges.last_mut() {
                // The first character of a chunk ends the range that the last one of the chunk before begins.
                Some(range) if k > 0 && i == 0 => range.1 = c,
                _ => ranges.push((c, c)),
            }
        }
    }
    Token::Set { negated, ranges }
}
