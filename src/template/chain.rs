//! Ansible's undefined values are chainable but strict: `a.b.c | default(x)` and `a.b.c is defined` are fine when `a` has no
//! `b`, and every other use of an undefined value is an error. minijinja has either, not both. So it runs strict, and the
//! chains under `default` and `is defined` are rewritten to look each step up with a filter that lets undefined pass.

use minijinja::{
    Error,
    machinery::{
        Span,
        ast::{CallArg, Expr, Stmt},
        parse, parse_expr,
    },
    syntax::SyntaxConfig,
};

/// The filter that looks up one step of a chain.
pub(super) const STEP: &str = "__step";

pub(super) fn rewrite_template(source: &str) -> Result<String, Error> {
    if !may_chain(source) {
        return Ok(source.to_owned());
    }
    let mut chains = Chains { source, edits: Vec::new() };
    chains.statement(&parse(source, "<template>", SyntaxConfig::default())?);
    Ok(chains.apply())
}

pub(super) fn rewrite_expression(source: &str) -> Result<String, Error> {
    if !may_chain(source) {
        return Ok(source.to_owned());
    }
    let mut chains = Chains { source, edits: Vec::new() };
    chains.expression(&parse_expr(source)?);
    Ok(chains.apply())
}

/// Most templates have no chain that may be undefined, and need no second parse.
fn may_chain(source: &str) -> bool {
    source.contains("default") || source.contains("defined") || source.contains("d(")
}

struct Chains<'a> {
    source: &'a str,
    edits: Vec<(std::ops::Range<usize>, String)>,
}

impl Chains<'_> {
    fn apply(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| range.start);
        let mut text = String::with_capacity(self.source.len() + 64);
        let mut at = 0;
        for (range, replacement) in self.edits {
            // A chain inside a chain that is rewritten already is part of its replacement.
            if range.start >= at {
                text.push_str(&self.source[at..range.start]);
                text.push_str(&replacement);
                at = range.end;
            }
        }
        text.push_str(&self.source[at..]);
        text
    }

    fn range(span: Span) -> std::ops::Range<usize> {
        span.start_offset as usize..span.end_offset as usize
    }

    fn text(&self, span: Span) -> &str {
        self.source.get(Self::range(span)).unwrap_or_default()
    }

    /// Rewrites the subject of `default` or `is defined`, when it is a chain of look-ups that begins with a variable or a
    /// call. Other chains, as of a filter's result in parentheses, stay strict in all but their last step.
    fn subject(&mut self, expr: &Expr<'_>) {
        if !matches!(expr, Expr::GetAttr(_) | Expr::GetItem(_)) {
            return;
        }
        let (Some(start), Some(replacement)) = (Self::start(expr), self.steps(expr)) else { return };
        self.edits.push((start..expr.span().end_offset as usize, format!("({replacement})")));
    }

    /// Where a chain begins: the parser's spans of chains end well but begin at their second step.
    fn start(expr: &Expr<'_>) -> Option<usize> {
        match expr {
            Expr::GetAttr(attr) => Self::start(&attr.expr),
            Expr::GetItem(item) => Self::start(&item.expr),
            Expr::Call(call) => Self::start(&call.expr),
            Expr::Var(var) => Some(var.span().start_offset as usize),
            _ => None,
        }
    }

    fn steps(&self, expr: &Expr<'_>) -> Option<String> {
        match expr {
            Expr::GetAttr(attr) => Some(format!("{}|{STEP}('{}')", self.steps(&attr.expr)?, attr.name)),
            Expr::GetItem(item) => {
                let subscript = self.text(item.subscript_expr.span());
                parse_expr(subscript).ok()?;
                Some(format!("{}|{STEP}({subscript})", self.steps(&item.expr)?))
            }
            Expr::Var(var) => Some(var.id.to_owned()),
            Expr::Call(call) => {
                let text = self.source.get(Self::start(&call.expr)?..call.span().end_offset as usize)?;
                Some(format!("({})", rewrite_expression(text).ok()?))
            }
            _ => None,
        }
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        for statement in statements {
            self.statement(statement);
        }
    }

    fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(node) => self.statements(&node.children),
            Stmt::EmitExpr(node) => self.expression(&node.expr),
            Stmt::ForLoop(node) => {
                self.expression(&node.iter);
                node.filter_expr.iter().for_each(|expr| self.expression(expr));
                self.statements(&node.body);
                self.statements(&node.else_body);
            }
            Stmt::IfCond(node) => {
                self.expression(&node.expr);
                self.statements(&node.true_body);
                self.statements(&node.false_body);
            }
            Stmt::WithBlock(node) => {
                node.assignments.iter().for_each(|(_, expr)| self.expression(expr));
                self.statements(&node.body);
            }
            Stmt::Set(node) => self.expression(&node.expr),
            Stmt::SetBlock(node) => self.statements(&node.body),
            Stmt::AutoEscape(node) => self.statements(&node.body),
            Stmt::FilterBlock(node) => self.statements(&node.body),
            Stmt::Block(node) => self.statements(&node.body),
            Stmt::Macro(node) => self.statements(&node.body),
            Stmt::CallBlock(node) => self.statements(&node.macro_decl.body),
            Stmt::Do(node) => self.arguments(&node.call.args),
            Stmt::EmitRaw(_)
            | Stmt::Import(_)
            | Stmt::FromImport(_)
            | Stmt::Extends(_)
            | Stmt::Include(_)
            | Stmt::Continue(_)
            | Stmt::Break(_) => {}
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(expr) | CallArg::Kwarg(_, expr) | CallArg::PosSplat(expr) | CallArg::KwargSplat(expr) => {
                    self.expression(expr);
                }
            }
        }
    }

    fn expression(&mut self, expr: &Expr<'_>) {
        match expr {
            Expr::Filter(node) => {
                if let Some(subject) = &node.expr {
                    if matches!(node.name, "default" | "d") {
                        self.subject(subject);
                    }
                    self.expression(subject);
                }
                self.arguments(&node.args);
            }
            Expr::Test(node) => {
                if matches!(node.name, "defined" | "undefined") {
                    self.subject(&node.expr);
                }
                self.expression(&node.expr);
                self.arguments(&node.args);
            }
            Expr::Slice(node) => {
                self.expression(&node.expr);
                for part in [&node.start, &node.stop, &node.step].into_iter().flatten() {
                    self.expression(part);
                }
            }
            Expr::UnaryOp(node) => self.expression(&node.expr),
            Expr::BinOp(node) => {
                self.expression(&node.left);
                self.expression(&node.right);
            }
            Expr::Compare(node) => {
                self.expression(&node.expr);
                node.ops.iter().for_each(|op| self.expression(&op.expr));
            }
            Expr::IfExpr(node) => {
                self.expression(&node.test_expr);
                self.expression(&node.true_expr);
                node.false_expr.iter().for_each(|expr| self.expression(expr));
            }
            Expr::GetAttr(node) => self.expression(&node.expr),
            Expr::GetItem(node) => {
                self.expression(&node.expr);
                self.expression(&node.subscript_expr);
            }
            Expr::Call(node) => {
                self.expression(&node.expr);
                self.arguments(&node.args);
            }
            Expr::List(node) => node.items.iter().for_each(|item| self.expression(item)),
            Expr::Tuple(node) => node.items.iter().for_each(|item| self.expression(item)),
            Expr::Map(node) => node.keys.iter().chain(&node.values).for_each(|item| self.expression(item)),
            Expr::Var(_) | Expr::Const(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{rewrite_expression, rewrite_template};

    #[test]
    fn rewrites_chains_under_default_and_defined_only() {
        for (source, expected) in [
            ("a.b.c | default('x')", "(a|__step('b')|__step('c')) | default('x')"),
            ("a['b'].c is defined", "(a|__step('b')|__step('c')) is defined"),
            ("a.b == a.c.d | d(1)", "a.b == (a|__step('c')|__step('d')) | d(1)"),
            ("f(x).y | default(1)", "((f(x))|__step('y')) | default(1)"),
            ("a.b", "a.b"),
        ] {
            assert_eq!(rewrite_expression(source).unwrap(), expected, "{source}");
        }
        let template = "x {% if a.b.c is defined %}{{ a[k] | default(1) }}{% endif %}";
        let expected = "x {% if (a|__step('b')|__step('c')) is defined %}{{ (a|__step(k)) | default(1) }}{% endif %}";
        assert_eq!(rewrite_template(template).unwrap(), expected);
    }
}
