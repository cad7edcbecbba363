//! What the functions of scripts return, as far as their last statement tells.
//!
//! A guess is worse than none here: what is not certain is not told.

use std::collections::BTreeMap;

use rhai::{AST, ASTFlags, ASTNode, Expr, FnCallExpr, Position, Stmt};

use super::Word;

/// The type that a function is a method of, its name, and how many parameters it takes.
type Key = (Option<String>, String, usize);

/// How deep functions that return what others return are followed.
const DEPTH: usize = 8;

/// What ends a function.
enum End {
    Type(String),
    /// The value that the method was called on.
    This,
    /// What another function returns.
    Of(Key),
    /// What a primitive returns.
    OfHost(String),
    Unknown,
}

/// What is known of all functions.
pub(super) struct Returns {
    ends: BTreeMap<Key, Vec<End>>,
    host: BTreeMap<String, Option<String>>,
}

/// A function, where its body stands, and its last statement so far.
struct Body {
    key: Key,
    span: (Position, Position),
    last: Option<(Position, End)>,
    before: Vec<End>,
}

impl Returns {
    /// What these modules tell, with these primitives.
    pub(super) fn of(trees: &[(&str, AST)], primitives: &[Word]) -> Self {
        let mut ends: BTreeMap<Key, Vec<End>> = BTreeMap::new();
        for body in trees.iter().flat_map(|(_, tree)| bodies(tree)) {
            // Private functions of several modules may have one name: then they must agree.
            let all = ends.entry(body.key).or_default();
            all.push(body.last.map_or_else(|| End::Type("()".to_owned()), |it| it.1));
            all.extend(body.before);
        }
        let host = primitives.iter().map(|it| (it.name.clone(), it.returns.clone())).collect();
        Self { ends, host }
    }

    /// The type of what a function returns.
    pub(super) fn find(&self, of: Option<&str>, name: &str, count: usize) -> Option<String> {
        self.follow(&(of.map(str::to_owned), name.to_owned(), count), DEPTH)
    }

    fn follow(&self, key: &Key, depth: usize) -> Option<String> {
        let depth = depth.checked_sub(1)?;
        let mut types = self.ends.get(key)?.iter().map(|it| match it {
            End::Type(it) => Some(it.clone()),
            End::This => key.0.clone(),
            End::Of(key) => self.follow(key, depth),
            End::OfHost(name) => self.host.get(name)?.clone(),
            End::Unknown => None,
        });
        let first = types.next()??;
        types.all(|it| it.as_ref() == Some(&first)).then_some(first)
    }
}

fn bodies(tree: &AST) -> Vec<Body> {
    let functions = tree.shared_lib().iter_script_fn_info();
    let body = |function: &rhai::ScriptFuncDef| Body {
        key: (
            function.this_type.as_ref().map(ToString::to_string),
            function.name.to_string(),
            function.params.len(),
        ),
        span: (function.body.start_position(), function.body.end_position()),
        last: None,
        before: Vec::new(),
    };
    let mut bodies: Vec<Body> = functions.map(|it| body(it.4)).collect();
    bodies.sort_by_key(|it| it.span.0);
    tree.walk(&mut |path: &[ASTNode<'_>]| {
        if let Some(ASTNode::Stmt(it)) = path.last() {
            learn(&mut bodies, it, path.len() == 1);
        }
        true
    });
    bodies
}

/// Adds what a statement tells of the function it stands in: the innermost one, since closures stand in
/// others.
fn learn(bodies: &mut [Body], it: &Stmt, is_outermost: bool) {
    let at = it.position();
    let around = |body: &&mut Body| body.span.0 <= at && at <= body.span.1;
    let Some(body) = bodies.iter_mut().rev().find(around) else { return };
    if is_outermost {
        if body.last.as_ref().is_none_or(|(last, _)| *last <= at) {
            let of = body.key.0.clone();
            body.last = Some((at, end(it, of)));
        }
    } else if let Stmt::Return(..) = it {
        let of = body.key.0.clone();
        body.before.push(end(it, of));
    }
}

fn end(it: &Stmt, of: Option<String>) -> End {
    match it {
        // It throws, and returns nothing.
        Stmt::Return(_, how, _) if how.contains(ASTFlags::BREAK) => End::Unknown,
        Stmt::Return(None, ..) | Stmt::Noop(_) | Stmt::Var(..) | Stmt::Assignment(_) => {
            End::Type("()".to_owned())
        }
        Stmt::Return(Some(it), ..) | Stmt::Expr(it) => of_expression(it, of),
        Stmt::FnCall(it, _) => of_call(it),
        _ => End::Unknown,
    }
}

fn of_expression(it: &Expr, of: Option<String>) -> End {
    let named = |it: &str| End::Type(it.to_owned());
    match it {
        Expr::ThisPtr(_) => End::This,
        Expr::FnCall(it, _) => of_call(it),
        Expr::Dot(it, ..) => match (&it.lhs, &it.rhs) {
            (Expr::ThisPtr(_), Expr::MethodCall(call, _)) => {
                End::Of((of, call.name.to_string(), call.args.len()))
            }
            _ => End::Unknown,
        },
        Expr::StringConstant(..) | Expr::InterpolatedString(..) => named("string"),
        Expr::Array(..) => named("array"),
        Expr::Map(..) => named("map"),
        Expr::BoolConstant(..) | Expr::And(..) | Expr::Or(..) => named("bool"),
        Expr::IntegerConstant(..) => named("int"),
        Expr::FloatConstant(..) => named("float"),
        Expr::CharConstant(..) => named("char"),
        Expr::Unit(_) => named("()"),
        _ => End::Unknown,
    }
}

fn of_call(call: &FnCallExpr) -> End {
    if call.namespace.is_empty() {
        match call.name.as_str() {
            "==" | "!=" | "<" | ">" | "<=" | ">=" | "!" | "in" => End::Type("bool".to_owned()),
            name => End::Of((None, name.to_owned(), call.args.len())),
        }
    } else if call.namespace.root() == "host" {
        End::OfHost(call.name.to_string())
    } else {
        End::Unknown
    }
}
