//! How deeply one template may be nested. The parser has a limit of its own, but for chains (`a.b.c...`, `a + b + ...`,
//! `not not ...`, `elif`), whose tree is as deep as they are long: walking it, or dropping it, needs stack for each step.

use minijinja::{
    Error, ErrorKind,
    machinery::{Token, tokenize},
    syntax::SyntaxConfig,
};

/// How many brackets may be open.
const MAX_BRACKETS: usize = 40;
/// How many operators may follow each other, in all brackets that are open.
const MAX_CHAIN: usize = 250;
/// How many `elif` one `if` may have, and how many blocks may be open.
const MAX_BLOCKS: usize = 100;
/// Below this length nothing can be too deep.
const SHORT: usize = 128;

/// Refuses what is nested too deeply.
pub(super) fn check(text: &str, expression: bool) -> Result<(), Error> {
    if text.len() < SHORT {
        return Ok(());
    }
    let wrong = |what: &str, most: usize| {
        let message = format!("the template is too complex: more than {most} {what}");
        Err(Error::new(ErrorKind::SyntaxError, message))
    };
    // The parser counts columns with 16 bits.
    if text.lines().any(|line| line.len() >= usize::from(u16::MAX)) {
        return wrong("characters in a line", usize::from(u16::MAX) - 1);
    }
    // Operators since the last comma, for each bracket that is open.
    let mut chains: Vec<usize> = vec![0];
    let mut blocks: Vec<usize> = Vec::new();
    let mut opens = false;
    for token in tokenize(text, expression, SyntaxConfig::default()) {
        // What is no token is the parser's to explain.
        let Ok((token, _)) = token else { return Ok(()) };
        let begins = std::mem::replace(&mut opens, matches!(token, Token::BlockStart));
        match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => chains = vec![0],
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                // A call or a subscript is a step of the chain before it.
                *chains.last_mut().expect("one is always there") += 1;
                chains.push(0);
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose if chains.len() > 1 => drop(chains.pop()),
            Token::Comma => *chains.last_mut().expect("one is always there") = 0,
            Token::Ident(word) if begins => match word {
                "elif" => blocks.last_mut().into_iter().for_each(|count| *count += 1),
                "endif" | "endfor" | "endwith" | "endmacro" | "endcall" | "endfilter" | "endblock" => {
                    let _ = blocks.pop();
                }
                "if" | "for" | "with" | "macro" | "call" | "filter" | "block" => blocks.push(1),
                _ => {}
            },
            Token::Ident("not" | "and" | "or" | "in" | "is" | "if" | "else")
            | Token::Plus
            | Token::Minus
            | Token::Mul
            | Token::Div
            | Token::FloorDiv
            | Token::Pow
            | Token::Mod
            | Token::Dot
            | Token::Tilde
            | Token::Pipe
            | Token::Eq
            | Token::Ne
            | Token::Gt
            | Token::Gte
            | Token::Lt
            | Token::Lte => *chains.last_mut().expect("one is always there") += 1,
            _ => {}
        }
        if chains.len() > MAX_BRACKETS {
            return wrong("brackets", MAX_BRACKETS);
        }
        if chains.iter().sum::<usize>() > MAX_CHAIN {
            return wrong("operators", MAX_CHAIN);
        }
        if blocks.iter().sum::<usize>() > MAX_BLOCKS {
            return wrong("blocks", MAX_BLOCKS);
        }
    }
    Ok(())
}
