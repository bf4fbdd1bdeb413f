//! In what an installation differs from its blueprint, object by object.
//!
//! Pure. A plan asks about single objects, to mend just those; a verdict asks about all.

use neverstale_coherence::{Safeguard, safeguard::stands};
use neverstale_flavour::TagRule;

use crate::{
    PROTOCOL,
    blueprint::{Blueprint, Watched},
    inspect::{ColumnState, RelationState, State, TableState, TriggerState},
    names,
    publish::Function,
    relations::{RELATIONS, Relation},
    triggers,
    triggers::{Event, Trigger},
    verdict::{Finding, Problem, found},
};

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
pub(crate) fn places(table: &TableState) -> Vec<Place<'_>> {
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
    } else if present.enabled != "A" && stands(Safeguard::EnableAlways) {
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
