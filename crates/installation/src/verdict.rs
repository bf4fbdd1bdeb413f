//! Whether an installation is whole: findings, each with its next step.
//!
//! The judging is pure and the reading is one statement, so that a sidecar can run [`verification_sql`] in one snapshot with the
//! incarnation and hand the text to [`judge`]. A green verdict is what PROTOCOL §8 asks for before answers may be cached again.

use std::fmt;

use tokio_postgres::Client;

use neverstale_flavour::Flavour;

use crate::{
    InstallationError,
    blueprint::Blueprint,
    compare,
    inspect::{self, State},
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
    Unreadable,
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
            Self::Unreadable => "this role may not read it, so views that do can't be answered",
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
            Self::Unreadable => "run neverstale install --reader ROLE as the tables' owner",
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
    findings.extend(compare::compare(&blueprint, state));
    Verdict { findings }
}

/// A finding about an object.
pub(crate) fn found(problem: Problem, object: &str) -> Finding {
    Finding {
        problem,
        object: object.to_owned(),
    }
}
