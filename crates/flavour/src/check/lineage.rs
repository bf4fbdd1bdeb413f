//! Where the values in a statement come from: parameters, literals, columns of tables, through subqueries and CTEs.
//!
//! Filled by `walk`, judged by `check`. Knows no tag rules.

use std::collections::{BTreeMap, BTreeSet};

/// One place a value may come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Param(usize),
    Literal(String),
    Column {
        reference: usize,
        column: String,
    },
    /// A column of a recursive CTE while its recursive part is being read: whatever that part gives.
    Recursion {
        cte: usize,
        column: usize,
    },
    /// A column of what a function in FROM gives for values of these origins, such as the elements of an array.
    Call {
        function: String,
        origins: OriginSet,
    },
    /// What is computed from parameters and literals alone, by its text.
    Expression(String),
    /// An expression that does not hand a value through unchanged.
    Computed,
}

pub(super) type OriginSet = BTreeSet<Origin>;

impl Origin {
    /// Whether the value is given from outside or stands in covered rows. What a recursion gives counts: its rows come from the step before,
    /// the first step has no recursion to lean on, and every reference in it must be covered like any other.
    pub(super) fn is_grounded(&self, covered: &[bool]) -> bool {
        match self {
            Self::Param(_) | Self::Literal(_) | Self::Expression(_) | Self::Recursion { .. } => true,
            Self::Column { reference, .. } => covered[*reference],
            Self::Call { origins, .. } => origins.iter().all(|origin| origin.is_grounded(covered)),
            Self::Computed => false,
        }
    }
}

/// What an expression hands through.
#[derive(Debug, Clone, Default)]
pub(super) struct Source {
    pub(super) origins: OriginSet,
    /// Whether `lower(…)` was applied.
    pub(super) is_lowered: bool,
    /// Whether the value was cast to JSON.
    pub(super) is_json: bool,
    /// Set if the expression is, but for `lower` and casts, a column of a table referred to in a FROM.
    pub(super) column: Option<(usize, String)>,
}

impl Source {
    pub(super) fn of(origin: Origin) -> Self {
        Self {
            origins: BTreeSet::from([origin]),
            ..Self::default()
        }
    }

    pub(super) fn computed() -> Self {
        Self::of(Origin::Computed)
    }
}

/// One mention of a table in a FROM.
#[derive(Debug)]
pub(super) struct Reference {
    pub(super) table: String,
    /// Whether it is written with our own schema.
    pub(super) is_ours: bool,
    pub(super) alias: String,
    pub(super) line: u64,
    pub(super) used: BTreeSet<String>,
}

/// One comparison that narrows a reference to rows of a key.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) reference: usize,
    pub(super) column: String,
    pub(super) is_lowered: bool,
    /// Whether the value is an element of the column's JSON array.
    pub(super) is_element: bool,
    pub(super) source: Source,
}

/// One call of `neverstale.tag` or `neverstale.tag_hashed`.
#[derive(Debug)]
pub(super) struct TagCall {
    pub(super) rule: String,
    pub(super) args: Vec<Source>,
    pub(super) is_hashed: bool,
    pub(super) line: u64,
}

/// Something in a FROM.
#[derive(Debug, Clone)]
pub(super) enum Relation {
    /// A table of the application, by index of its reference.
    Base(usize),
    /// A subquery or CTE with its columns.
    Derived(Vec<(String, OriginSet)>),
    /// A function's result: column names if given, all of one origin.
    Opaque { columns: Vec<String>, origins: OriginSet },
}

/// The relations of one SELECT, by alias.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    pub(super) relations: Vec<(String, Relation)>,
}

/// A CTE as far as it is known.
#[derive(Debug)]
pub(super) struct Cte {
    pub(super) name: String,
    pub(super) columns: Vec<(String, OriginSet)>,
}

/// All that is learnt while a statement is read.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    pub(super) references: Vec<Reference>,
    pub(super) bindings: Vec<Binding>,
    pub(super) calls: Vec<TagCall>,
    /// Parameter numbers with the line of their first use.
    pub(super) params: BTreeMap<usize, u64>,
    /// The first line that reads the clock.
    pub(super) clock_line: Option<u64>,
    /// Nested SELECTs, innermost last.
    pub(super) frames: Vec<Frame>,
    /// All CTEs met; `visible` indexes them.
    pub(super) ctes: Vec<Cte>,
    /// CTEs in scope, innermost last.
    pub(super) visible: Vec<usize>,
}

impl Tracer {
    pub(super) fn cte_named(&self, name: &str) -> Option<&Cte> {
        self.visible
            .iter()
            .rev()
            .map(|index| &self.ctes[*index])
            .find(|cte| cte.name == name)
    }

    /// The origins in a form that can be compared across references: columns by table, recursions replaced by what they give.
    pub(super) fn expand(&self, origins: &OriginSet) -> BTreeSet<(String, String)> {
        let mut expanded = BTreeSet::new();
        let mut todo: Vec<&Origin> = origins.iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(origin) = todo.pop() {
            if !seen.insert(origin) {
                continue;
            }
            match origin {
                Origin::Param(number) => {
                    expanded.insert((format!("${number}"), String::new()));
                }
                Origin::Literal(text) => {
                    expanded.insert(("'".to_owned(), text.clone()));
                }
                Origin::Expression(text) => {
                    expanded.insert(("=".to_owned(), text.clone()));
                }
                Origin::Column { reference, column } => {
                    expanded.insert((self.references[*reference].table.clone(), column.clone()));
                }
                Origin::Recursion { cte, column } => todo.extend(&self.ctes[*cte].columns[*column].1),
                Origin::Call { function, origins } => {
                    expanded.insert((format!("{function}()"), format!("{:?}", self.expand(origins))));
                }
                Origin::Computed => {
                    expanded.insert(("?".to_owned(), String::new()));
                }
            }
        }
        expanded
    }
}
