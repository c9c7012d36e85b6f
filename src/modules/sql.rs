//! What can be said of SQL without a server: how values are quoted, and whether a statement only reads.

/// A name in SQL.
pub(super) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in SQL.
pub(super) fn literal(text: &str) -> String {
    let escape = if text.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", text.replace('\'', "''").replace('\\', "\\\\"))
}

/// A piece of SQL outside of texts and comments.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, in upper case.
    Word(String),
    /// A quoted text or name.
    Quoted,
    /// Anything else but white space.
    Sign(char),
}

/// The tokens of SQL.
pub(super) fn tokens(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\'' | '"' => {
                // `E'...'` knows backslashes; the `E` has become a word of its own.
                let escapes = c == '\'' && tokens.last() == Some(&Token::Word("E".to_owned()));
                tokens.push(Token::Quoted);
                behind_quote(after, c, escapes)
            }
            '-' if after.starts_with('-') => after.find('\n').map_or("", |end| &after[end..]),
            '/' if after.starts_with('*') => behind_comment(&after[1..]),
            '$' => match dollar_tag(rest).and_then(|tag| Some((tag, rest[tag.len()..].find(tag)?))) {
                Some((tag, at)) => {
                    tokens.push(Token::Quoted);
                    &rest[2 * tag.len() + at..]
                }
                None => {
                    tokens.push(Token::Sign(c));
                    after
                }
            },
            c if c.is_alphabetic() || c == '_' => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_uppercase()));
                &rest[end..]
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Sign(c));
                }
                after
            }
        };
    }
    tokens
}

/// What comes after a quoted text, from within it.
fn behind_quote(text: &str, quote: char, escapes: bool) -> &str {
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return &text[at + 1..];
            }
        } else if escapes && c == '\\' {
            chars.next();
        }
    }
    ""
}

/// What comes after a comment, which may hold others, from within it.
fn behind_comment(mut text: &str) -> &str {
    let mut depth = 1;
    while depth > 0 {
        let Some(end) = text.find("*/") else { return "" };
        match text.find("/*") {
            Some(begin) if begin < end => {
                depth += 1;
                text = &text[begin + 2..];
            }
            _ => {
                depth -= 1;
                text = &text[end + 2..];
            }
        }
    }
    text
}

/// `$$` or `$tag$` at the start of a text.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 1;
    let name = &text[1..end];
    let begins_well = !name.starts_with(|c: char| c.is_ascii_digit());
    (begins_well && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then(|| &text[..=end])
}

/// Words that may be before `(` without being functions.
const WORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "ARRAY",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "DISTINCT",
    "ELSE",
    "EXCEPT",
    "EXISTS",
    "FILTER",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INTERSECT",
    "IS",
    "JOIN",
    "LATERAL",
    "LIKE",
    "ILIKE",
    "LIMIT",
    "NOT",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OVER",
    "PARTITION",
    "ROW",
    "SELECT",
    "SIMILAR",
    "SOME",
    "TABLE",
    "THEN",
    "TO",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WITH",
    "WITHIN",
    "CHAR",
    "VARCHAR",
    "CHARACTER",
    "NUMERIC",
    "DECIMAL",
    "BIT",
    "TIME",
    "TIMESTAMP",
    "INTERVAL",
    "FLOAT",
    "ROLLUP",
    "CUBE",
    "SETS",
    "MATERIALIZED",
];

/// Functions of PostgreSQL that look at nothing but their arguments, the catalog, statistics and the session.
const READING: &[&str] = &[
    "ABS",
    "AGE",
    "ARRAY_AGG",
    "ARRAY_LENGTH",
    "ARRAY_TO_STRING",
    "AVG",
    "BOOL_AND",
    "BOOL_OR",
    "BTRIM",
    "CAST",
    "CEIL",
    "COALESCE",
    "CONCAT",
    "CONCAT_WS",
    "COUNT",
    "CURRENT_DATABASE",
    "CURRENT_SCHEMA",
    "CURRENT_SCHEMAS",
    "CURRENT_SETTING",
    "DATE_PART",
    "DATE_TRUNC",
    "ENCODE",
    "EVERY",
    "EXTRACT",
    "FLOOR",
    "FORMAT",
    "FORMAT_TYPE",
    "GREATEST",
    "HAS_COLUMN_PRIVILEGE",
    "HAS_DATABASE_PRIVILEGE",
    "HAS_FUNCTION_PRIVILEGE",
    "HAS_SCHEMA_PRIVILEGE",
    "HAS_SEQUENCE_PRIVILEGE",
    "HAS_TABLE_PRIVILEGE",
    "INET_SERVER_ADDR",
    "INET_SERVER_PORT",
    "INITCAP",
    "JSONB_AGG",
    "JSONB_BUILD_OBJECT",
    "JSON_AGG",
    "JSON_BUILD_OBJECT",
    "LEAST",
    "LEFT",
    "LENGTH",
    "LOWER",
    "LPAD",
    "LTRIM",
    "MAX",
    "MD5",
    "MIN",
    "MOD",
    "NOW",
    "NULLIF",
    "OBJ_DESCRIPTION",
    "PG_COLUMN_SIZE",
    "PG_CONF_LOAD_TIME",
    "PG_CURRENT_WAL_LSN",
    "PG_DATABASE_SIZE",
    "PG_ENCODING_TO_CHAR",
    "PG_GET_CONSTRAINTDEF",
    "PG_GET_INDEXDEF",
    "PG_GET_USERBYID",
    "PG_GET_VIEWDEF",
    "PG_HAS_ROLE",
    "PG_INDEXES_SIZE",
    "PG_IS_IN_RECOVERY",
    "PG_LAST_WAL_RECEIVE_LSN",
    "PG_LAST_WAL_REPLAY_LSN",
    "PG_LAST_XACT_REPLAY_TIMESTAMP",
    "PG_POSTMASTER_START_TIME",
    "PG_RELATION_SIZE",
    "PG_SIZE_PRETTY",
    "PG_TABLESPACE_SIZE",
    "PG_TABLE_SIZE",
    "PG_TOTAL_RELATION_SIZE",
    "PG_WAL_LSN_DIFF",
    "POSITION",
    "QUOTE_IDENT",
    "QUOTE_LITERAL",
    "REGEXP_REPLACE",
    "REPLACE",
    "RIGHT",
    "ROUND",
    "ROW_NUMBER",
    "ROW_TO_JSON",
    "RPAD",
    "RTRIM",
    "SPLIT_PART",
    "STRING_AGG",
    "STRPOS",
    "SUBSTR",
    "SUBSTRING",
    "SUM",
    "TO_CHAR",
    "TO_DATE",
    "TO_JSON",
    "TO_JSONB",
    "TO_NUMBER",
    "TO_REGCLASS",
    "TO_TIMESTAMP",
    "TRIM",
    "UNNEST",
    "UPPER",
    "VERSION",
];

/// Whether SQL is one query without any function that we do not know to be harmless. What it may still change, the server
/// refuses in a read-only transaction.
pub(super) fn only_reads(tokens: &[Token]) -> bool {
    let queries = matches!(tokens.first(), Some(Token::Word(word)) if is_query(word));
    let one = !tokens.contains(&Token::Sign(';'));
    let calls = tokens.windows(2).all(|pair| match pair {
        [Token::Word(word), Token::Sign('(')] => WORDS.contains(&word.as_str()) || READING.contains(&word.as_str()),
        // The name of a function may be quoted.
        [Token::Quoted, Token::Sign('(')] => false,
        _ => true,
    });
    queries && one && calls
}

/// Whether every statement is a query: then nothing counts as changed, as with psycopg.
pub(super) fn only_queries(tokens: &[Token]) -> bool {
    tokens
        .split(|token| *token == Token::Sign(';'))
        .filter(|statement| !statement.is_empty())
        .all(|statement| matches!(statement.first(), Some(Token::Word(word)) if is_query(word)))
}

fn is_query(word: &str) -> bool {
    matches!(word, "SELECT" | "SHOW" | "TABLE" | "VALUES")
}

#[cfg(test)]
mod tests {
    use super::{ident, literal, only_reads, tokens};

    #[test]
    fn sql_is_quoted() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b'"), "E'a\\\\b'''");
    }

    #[test]
    fn only_harmless_queries_are_probes() {
        for sql in [
            "SELECT 1",
            "select count(*) from t where a in ('x;y', $$;$$) -- ; DROP",
            "SHOW max_connections",
            "SELECT 'pg_promote()' /* ; /* nested */ */ AS x",
        ] {
            assert!(only_reads(&tokens(sql)), "{sql}");
        }
        for sql in [
            "SELECT pay_invoice(42)",
            "SELECT pg_promote()",
            "SELECT NEXTVAL('s')",
            "SELECT \"pg_promote\"()",
            "SELECT pg_catalog.pg_reload_conf ()",
            "SELECT 1; DROP TABLE t",
            "SELECT E'\\'' || pg_promote() || ''",
            "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
            "INSERT INTO t VALUES (1)",
        ] {
            assert!(!only_reads(&tokens(sql)), "{sql}");
        }
    }
}
