//! Whether an installation is whole: findings, each with its next step.
//!
//! The judging is pure and the reading is one statement, so that a sidecar can run [`verification_sql`] in one snapshot with the
//! incarnation and hand the text to [`judge`]. A green verdict is what PROTOCOL §8 asks for before answers may be cached again.

use std::fmt;

use tokio_postgres::Client;

use neverstale_flavour::{Flavour, TagRule};

use crate::{
    InstallationError, PROTOCOL,
    blueprint::{Blueprint, Watched},
    inspect::{self, ColumnState, RelationState, State, TableState, TriggerState},
    names,
    publish::Function,
    relations::{RELATIONS, Relation},
    triggers,
    triggers::{Event, Trigger},
};

/// What is wrong with an installation; empty when all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What was found, the most fundamental first.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether answers may be cached.
    pub fn is_green(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_green() {
            return f.write_str("the installation is whole");
        }
        let lines: Vec<String> = self.findings.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong.
    pub problem: Problem,
    /// The object it is wrong with, such as `user.neverstale_update`.
    pub object: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}; {}",
            self.object,
            self.problem.statement(),
            self.problem.next_step()
        )
    }
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "each variant is described by its statement and its next step"
)]
pub enum Problem {
    NotInstalled,
    OtherProtocol,
    OtherSpecification,
    Suspended,
    MissingRelation,
    DifferentRelation,
    MissingFunction,
    DifferentFunction,
    MissingTrigger,
    DisabledTrigger,
    DifferentTrigger,
    BeforeTrigger,
    PositionRewound,
    MissingTable,
    NotATable,
    InheritanceParent,
    ForeignPartition,
    MissingColumn,
    UnsupportedTagColumn,
}

impl Problem {
    /// What is wrong, in words.
    pub fn statement(self) -> &'static str {
        match self {
            Self::NotInstalled => "neverstale is not installed, or an install did not end",
            Self::OtherProtocol => "it was installed by another version of the protocol",
            Self::OtherSpecification => "it watches other tables, columns or tags than this flavour wants",
            Self::Suspended => "it is suspended for a migration",
            Self::MissingRelation => "this table or sequence is missing",
            Self::DifferentRelation => "this table or sequence is of another shape",
            Self::MissingFunction => "this function is missing",
            Self::DifferentFunction => "this function is of another version or was changed by hand",
            Self::MissingTrigger => "this trigger is missing, so changes are not published",
            Self::DisabledTrigger => "this trigger is disabled or does not fire ALWAYS",
            Self::DifferentTrigger => "this trigger is of another version or was changed by hand",
            Self::BeforeTrigger => {
                "a BEFORE UPDATE trigger may change watched columns that the statement does not name"
            }
            Self::PositionRewound => "the sequence is behind the log, so every watched commit is refused",
            Self::MissingTable => "this watched table does not exist",
            Self::NotATable => "this is a view or a foreign table, whose changes no trigger sees",
            Self::InheritanceParent => "other tables inherit from it, and writes to them reach no trigger",
            Self::ForeignPartition => "this partition is a foreign table, whose changes no trigger sees",
            Self::MissingColumn => "this watched column does not exist",
            Self::UnsupportedTagColumn => {
                "a key of tags must be text, varchar, uuid or an integer with a deterministic collation, \
                                           the default one where it is lower-cased; a list of keys json, jsonb or text"
            }
        }
    }

    /// What to do about it.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::NotInstalled
            | Self::OtherSpecification
            | Self::MissingRelation
            | Self::MissingFunction
            | Self::DifferentFunction
            | Self::MissingTrigger
            | Self::DisabledTrigger
            | Self::DifferentTrigger
            | Self::BeforeTrigger
            | Self::PositionRewound => "run neverstale install",
            Self::Suspended => "run neverstale resume when the migration is done",
            Self::OtherProtocol | Self::DifferentRelation => {
                "run neverstale uninstall with the version that installed it, then install"
            }
            Self::MissingTable | Self::MissingColumn => {
                "check --schema and the flavour: the application's schema is not the one it describes"
            }
            Self::NotATable | Self::InheritanceParent | Self::ForeignPartition | Self::UnsupportedTagColumn => {
                "take it out of the flavour; what depends on it cannot be cached"
            }
        }
    }

    /// Whether `install` cannot mend it.
    pub fn blocks_install(self) -> bool {
        matches!(
            self,
            Self::OtherProtocol
                | Self::DifferentRelation
                | Self::MissingTable
                | Self::NotATable
                | Self::InheritanceParent
                | Self::ForeignPartition
                | Self::MissingColumn
                | Self::UnsupportedTagColumn
        )
    }
}

/// One statement, without parameters, that gives one row with one JSON text for [`judge`].
///
/// It wants `search_path = pg_catalog`, takes a few milliseconds, and may stand as a sub-select in a larger statement. It fails with
/// `undefined_table` or `invalid_schema_name` where nothing is installed.
pub fn verification_sql(flavour: &Flavour, app_schema: &str) -> String {
    inspect::state_sql(flavour, app_schema)
}

/// Judges what [`verification_sql`] answered.
///
/// # Errors
/// [`InstallationError::Unreadable`] if the text is of another version.
pub fn judge(flavour: &Flavour, app_schema: &str, state: &str) -> Result<Verdict, InstallationError> {
    Ok(verdict(flavour, app_schema, &State::parse(state)?))
}

/// Reads and judges an installation; changes nothing.
///
/// # Errors
/// [`InstallationError::Rights`] if the role may not read our schema, and what the database answered otherwise.
///
/// # Cancel safety
/// Dropping it is safe.
pub async fn verify(client: &Client, flavour: &Flavour, app_schema: &str) -> Result<Verdict, InstallationError> {
    Ok(verdict(
        flavour,
        app_schema,
        &inspect::read(client, flavour, app_schema).await?,
    ))
}

fn verdict(flavour: &Flavour, app_schema: &str, state: &State) -> Verdict {
    let Some(installation) = state.installation() else {
        return Verdict {
            findings: vec![found(Problem::NotInstalled, "schema neverstale")],
        };
    };
    let blueprint = Blueprint::new(flavour, app_schema, installation.lock_class);
    let mut findings = Vec::new();
    if installation.suspended {
        findings.push(found(Problem::Suspended, "installation"));
    } else if installation.specification.is_empty() {
        findings.push(found(Problem::NotInstalled, "installation"));
    } else if installation.specification != blueprint.specification {
        findings.push(found(
            Problem::OtherSpecification,
            &format!("installation of {}", installation.flavour),
        ));
    }
    findings.extend(compare(&blueprint, state));
    Verdict { findings }
}

/// Everything in which the state differs from the blueprint, but for the `installation` row's own words.
pub(crate) fn compare(blueprint: &Blueprint<'_>, state: &State) -> Vec<Finding> {
    let mut findings = Vec::new();
    if state
        .installation()
        .is_some_and(|installation| installation.protocol != PROTOCOL)
    {
        findings.push(found(Problem::OtherProtocol, "installation"));
    }
    for relation in &RELATIONS {
        findings.extend(
            relation_problem(relation, state).map(|problem| found(problem, &format!("neverstale.{}", relation.name))),
        );
    }
    if is_position_rewound(state) {
        findings.push(found(Problem::PositionRewound, "neverstale.position"));
    }
    for function in &blueprint.functions {
        findings.extend(function_problem(function, state).map(|problem| found(problem, &function.signature())));
    }
    findings.extend(publish_problem(state).map(|problem| found(problem, "neverstale.seal.neverstale_publish")));
    for watched in &blueprint.tables {
        let Some(table) = state.table(&watched.table.name) else {
            continue;
        };
        let unsuitable = unsuitable(watched, table);
        let lacks_table = table.oid.is_none();
        findings.extend(unsuitable);
        if lacks_table {
            continue;
        }
        findings.extend(
            function_problem(&watched.collect, state).map(|problem| found(problem, &watched.collect.signature())),
        );
        for trigger in &watched.triggers {
            for place in places(table) {
                let object = format!("{}.{}", place.name, trigger.name);
                findings.extend(trigger_problem(trigger, table, &place, state).map(|problem| found(problem, &object)));
            }
        }
    }
    findings
}

fn found(problem: Problem, object: &str) -> Finding {
    Finding {
        problem,
        object: object.to_owned(),
    }
}

/// What about a table of the application keeps it from being watched.
fn unsuitable(watched: &Watched<'_>, table: &TableState) -> Vec<Finding> {
    let name = &table.name;
    let kind = table.kind.as_deref();
    if kind.is_none() {
        return vec![found(Problem::MissingTable, name)];
    }
    let mut findings = Vec::new();
    if !matches!(kind, Some("r" | "p")) {
        findings.push(found(Problem::NotATable, name));
    }
    if table.inheritance_parent {
        findings.push(found(Problem::InheritanceParent, name));
    }
    let foreign = table.partitions.iter().filter(|partition| partition.kind == "f");
    findings.extend(foreign.map(|partition| found(Problem::ForeignPartition, &partition.name)));
    let column = |wanted: &String| table.columns.iter().find(|column| column.name == *wanted);
    let watched_columns = names::watched_columns(watched.table);
    let missing = watched_columns.iter().filter(|wanted| column(wanted).is_none());
    findings.extend(missing.map(|wanted| found(Problem::MissingColumn, &format!("{name}.{wanted}"))));
    for rule in &watched.table.tags {
        let unsupported = rule
            .key
            .iter()
            .chain(&rule.each)
            .filter(|wanted| column(wanted).is_some_and(|column| !is_supported(rule, column)));
        findings.extend(unsupported.map(|wanted| found(Problem::UnsupportedTagColumn, &format!("{name}.{wanted}"))));
    }
    findings
}

/// A tag is the same text on both sides only for types whose text does not depend on a session and whose equality is that of bytes [16].
fn is_supported(rule: &TagRule, column: &ColumnState) -> bool {
    let kind = column.kind.as_str();
    let text = matches!(kind, "text" | "character varying") && column.deterministic;
    if rule.each.is_some() {
        return text || matches!(kind, "json" | "jsonb");
    }
    let cased_alike = !rule.lower || column.default_collation;
    text && cased_alike || matches!(kind, "uuid" | "smallint" | "integer" | "bigint")
}

pub(crate) fn relation_problem(relation: &Relation, state: &State) -> Option<Problem> {
    let Some(present) = state.relation(relation.name) else {
        return Some(Problem::MissingRelation);
    };
    let RelationState {
        kind,
        persistence,
        columns,
        cache,
        ..
    } = present;
    let same = kind == relation.kind
        && persistence == relation.persistence
        && columns == relation.columns
        && cache.is_none_or(|cache| cache == 1);
    (!same).then_some(Problem::DifferentRelation)
}

pub(crate) fn is_position_rewound(state: &State) -> bool {
    state.contents.as_ref().is_some_and(|contents| {
        !contents.position_called
            || !contents.intent_called
            || contents.newest.is_some_and(|newest| contents.position < newest)
    })
}

pub(crate) fn function_problem(function: &Function, state: &State) -> Option<Problem> {
    let mut present = state.catalog.functions.iter();
    let Some(present) =
        present.find(|present| present.name == function.name && present.arguments == function.arguments)
    else {
        return Some(Problem::MissingFunction);
    };
    let same = present.source_hash == names::hash(&function.source)
        && present.definer == function.definer
        && present.config.iter().eq(function.config.iter());
    (!same).then_some(Problem::DifferentFunction)
}

pub(crate) fn publish_problem(state: &State) -> Option<Problem> {
    let mut present = state.catalog.triggers.iter();
    let Some(present) = present.find(|trigger| trigger.name == triggers::PUBLISH && trigger.schema == crate::SCHEMA)
    else {
        return Some(Problem::MissingTrigger);
    };
    let same = present.kind == triggers::PUBLISH_KIND
        && present.function == "publish"
        && present.deferrable
        && !present.has_when
        && present.columns == ["stage"];
    if !same {
        Some(Problem::DifferentTrigger)
    } else if present.enabled == "A" {
        None
    } else {
        Some(Problem::DisabledTrigger)
    }
}

/// A relation on which a trigger must be.
pub(crate) struct Place<'a> {
    pub(crate) oid: i64,
    /// `None` for the watched table itself.
    pub(crate) partition_schema: Option<&'a str>,
    pub(crate) name: &'a str,
}

/// The table, and its partitions: Postgres clones row triggers to them, statement triggers it does not [8].
pub(crate) fn places<'a>(table: &'a TableState) -> Vec<Place<'a>> {
    let Some(oid) = table.oid else { return Vec::new() };
    let partitions = table
        .partitions
        .iter()
        .filter(|partition| partition.kind != "f")
        .map(|partition| Place {
            oid: partition.oid,
            partition_schema: Some(&partition.schema),
            name: &partition.name,
        });
    std::iter::once(Place {
        oid,
        partition_schema: None,
        name: &table.name,
    })
    .chain(partitions)
    .collect()
}

pub(crate) fn trigger_problem(
    trigger: &Trigger,
    table: &TableState,
    place: &Place<'_>,
    state: &State,
) -> Option<Problem> {
    let mut present = state.catalog.triggers.iter();
    let Some(present) = present.find(|present| present.table_oid == place.oid && present.name == trigger.name) else {
        return Some(Problem::MissingTrigger);
    };
    if !is_same(trigger, present) {
        Some(Problem::DifferentTrigger)
    } else if present.enabled != "A" {
        Some(Problem::DisabledTrigger)
    } else if !present.columns.is_empty() && !table.before_update.is_empty() {
        Some(Problem::BeforeTrigger)
    } else {
        None
    }
}

fn is_same(trigger: &Trigger, present: &TriggerState) -> bool {
    let names_watched = present.columns.is_empty()
        || present.columns.len() == trigger.watched().len()
            && trigger.watched().iter().all(|column| present.columns.contains(column));
    present.kind == trigger.kind
        && present.function == trigger.function
        && present.has_when == (trigger.event == Event::Update)
        && names_watched
        && (present.cloned || present.comment.as_deref() == Some(trigger.comment().as_str()))
}
