//! The triggers of a watched table, and the constraint trigger on `seal`.
//!
//! Each carries in its comment a hash of its definition, by which another version is recognised. All are ENABLE ALWAYS, so that
//! they fire under `session_replication_role = replica` too.

use neverstale_coherence::{Safeguard, safeguard::stands};
use neverstale_flavour::Table;

use crate::{PROTOCOL, names};

/// Bits of `pg_trigger.tgtype`.
mod kind {
    pub(super) const ROW: i16 = 1;
    pub(super) const INSERT: i16 = 4;
    pub(super) const DELETE: i16 = 8;
    pub(super) const UPDATE: i16 = 16;
    pub(super) const TRUNCATE: i16 = 32;
}

/// Which of the triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// Each inserted or deleted row.
    Row,
    /// Each row whose watched columns changed.
    Update,
    /// TRUNCATE, which no row trigger sees; a partition needs one of its own [8].
    Truncate,
}

/// A trigger of a watched table as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Trigger {
    pub(crate) event: Event,
    pub(crate) name: &'static str,
    /// `pg_trigger.tgtype`.
    pub(crate) kind: i16,
    /// Name of its function in schema `neverstale`.
    pub(crate) function: String,
    watched: Vec<String>,
}

/// The three triggers of a table.
pub(crate) fn triggers(table: &Table) -> [Trigger; 3] {
    [
        (Event::Row, "neverstale_row", kind::ROW | kind::INSERT | kind::DELETE),
        (Event::Update, "neverstale_update", kind::ROW | kind::UPDATE),
        (Event::Truncate, "neverstale_truncate", kind::TRUNCATE),
    ]
    .map(|(event, name, kind)| {
        let function = names::collect_function(&table.name);
        Trigger {
            event,
            name,
            kind,
            function,
            watched: names::watched_columns(table),
        }
    })
}

/// Whether the UPDATE trigger may name its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpdateOf {
    /// No BEFORE trigger could change a watched column behind the statement's back: noise costs nothing at all.
    WatchedColumns,
    /// The WHEN clause alone decides.
    Anything,
}

impl Trigger {
    /// Columns that WHEN compares.
    pub(crate) fn watched(&self) -> &[String] {
        &self.watched
    }

    /// What its comment says: a hash of the definition, without the table and without the column list.
    pub(crate) fn comment(&self) -> String {
        format!(
            "Neverstale {PROTOCOL} {}",
            &names::hash(&self.definition("", UpdateOf::Anything))[..16]
        )
    }

    /// Statements that make it on a relation, given quoted.
    pub(crate) fn create(&self, relation: &str, update_of: UpdateOf) -> Vec<String> {
        vec![
            format!("CREATE OR REPLACE TRIGGER {}", self.definition(relation, update_of)),
            self.enable(relation),
            format!(
                "COMMENT ON TRIGGER {} ON {relation} IS {}",
                self.name,
                names::literal(&self.comment())
            ),
        ]
    }

    /// Makes it fire for replicas, too.
    pub(crate) fn enable(&self, relation: &str) -> String {
        let always = if stands(Safeguard::EnableAlways) { "ALWAYS " } else { "" };
        format!("ALTER TABLE {relation} ENABLE {always}TRIGGER {}", self.name)
    }

    /// The binary image is compared: equality is not identity [6]. By the function and not by its operator `*<>`: that one
    /// needs a cast to `record`, or it is taken apart column by column, and the cast is lost in a dump, so that no restore
    /// of the application's database would bring the trigger back.
    fn definition(&self, relation: &str, update_of: UpdateOf) -> String {
        let columns = |prefix: &str| {
            let columns: Vec<String> = self
                .watched
                .iter()
                .map(|column| format!("{prefix}{}", names::identifier(column)))
                .collect();
            columns.join(", ")
        };
        let differs = if stands(Safeguard::BinaryImage) {
            "pg_catalog.record_image_ne"
        } else {
            "pg_catalog.record_ne"
        };
        let (event, scope) = match self.event {
            Event::Row => ("INSERT OR DELETE".to_owned(), "FOR EACH ROW".to_owned()),
            Event::Truncate => ("TRUNCATE".to_owned(), "FOR EACH STATEMENT".to_owned()),
            Event::Update => (
                match update_of {
                    UpdateOf::WatchedColumns => format!("UPDATE OF {}", columns("")),
                    UpdateOf::Anything => "UPDATE".to_owned(),
                },
                format!(
                    "FOR EACH ROW\n  WHEN ({differs}(ROW({}), ROW({})))",
                    columns("OLD."),
                    columns("NEW.")
                ),
            ),
        };
        format!(
            "{} AFTER {event} ON {relation}\n  {scope}\n  EXECUTE FUNCTION neverstale.{}()",
            self.name,
            names::identifier(&self.function)
        )
    }
}

/// Name of the constraint trigger on `seal`.
pub(crate) const PUBLISH: &str = "neverstale_publish";

/// `pg_trigger.tgtype` of [`PUBLISH`].
pub(crate) const PUBLISH_KIND: i16 = kind::ROW | kind::INSERT | kind::UPDATE;

/// Statements that make the constraint trigger anew. Rows that a time without it left behind are deleted, or a transaction
/// with the same number, possible after a logical restore, would find its seal taken and publish nothing.
pub(crate) const PUBLISH_CREATE: [&str; 4] = [
    "DROP TRIGGER IF EXISTS neverstale_publish ON neverstale.seal",
    "CREATE CONSTRAINT TRIGGER neverstale_publish AFTER INSERT OR UPDATE OF stage ON neverstale.seal
  DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW
  EXECUTE FUNCTION neverstale.publish()",
    "ALTER TABLE neverstale.seal ENABLE ALWAYS TRIGGER neverstale_publish",
    "DELETE FROM neverstale.seal",
];
