//! The text of every statement that readers rest on.
//!
//! Each names the incarnation in its own snapshot (PROTOCOL §3, §4). `as_of` is a plain sub-select on `log`: through a
//! function it could come from a later snapshot than the value [14]. Nothing here is cast by a session's settings.

use std::fmt::Write as _;

use neverstale_coherence::{Safeguard, safeguard::stands};
use neverstale_flavour::{Flavour, ViewId};

/// The statements for one flavour in one application schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statements {
    incarnation: String,
    views: Vec<String>,
    names: Vec<String>,
}

/// The year 9999: what expires later, or at no time that a clock can show, never does.
const EXPIRY_SECONDS_MAX: u64 = 253_402_300_800;

/// The row that every statement about the state of the world gives, after the incarnation.
const STATE: &str = "(SELECT last_value FROM neverstale.intent), \
    (SELECT lease_ms FROM neverstale.installation), \
    (SELECT coalesce(max(position), 0) FROM neverstale.log)";

impl Statements {
    /// Writes the statements; `partitioned` names the watched tables that are partitioned now (a table that becomes one
    /// later changes its triggers, and with them the incarnation).
    pub fn new(flavour: &Flavour, app_schema: &str, partitioned: &[String]) -> Self {
        let tables: Vec<String> = flavour
            .tables
            .iter()
            .map(|table| regclass(app_schema, &table.name))
            .collect();
        let trees: Vec<String> = partitioned.iter().map(|name| regclass(app_schema, name)).collect();
        Self {
            incarnation: incarnation(&tables, &trees),
            views: (0..flavour.views.len())
                .map(|id| flavour.view_sql(ViewId(id as u16), app_schema))
                .collect(),
            names: flavour.views.iter().map(|view| view.name.clone()).collect(),
        }
    }

    /// Names the watched tables that are partitioned; `$1` is the application's schema, `$2` their names.
    pub(crate) const PARTITIONED: &str = "SELECT c.relname::text FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE n.nspname = $1 AND c.relname = ANY ($2) AND c.relkind = 'p'";

    /// How far the log reaches, to begin a world: incarnation, pruned_to, newest position, lock class,
    /// whether suspended.
    pub(crate) fn outset(&self) -> String {
        format!(
            "SELECT {}, (SELECT pruned_to FROM neverstale.pruned), \
             (SELECT coalesce(max(position), 0) FROM neverstale.log), \
             (SELECT lock_class FROM neverstale.installation), \
             (SELECT suspended FROM neverstale.installation)",
            self.incarnation
        )
    }

    /// Puts an id where crash recovery left none.
    pub(crate) const BOOT: &str = "SELECT neverstale.boot()";

    /// Begins another incarnation in place of one whose positions went back.
    pub(crate) const BEGIN_ANEW: &str = "SELECT neverstale.begin_anew()";

    /// The fence, also the third statement of a settlement.
    pub(crate) fn fence(&self) -> String {
        format!("SELECT {}, {STATE}", self.incarnation)
    }

    /// First statement of a settlement: the newest intent.
    pub(crate) fn newest_intent(&self) -> String {
        format!(
            "SELECT {}, (SELECT last_value FROM neverstale.intent)",
            self.incarnation
        )
    }

    /// Second statement of a settlement: which intents and tag marks writers hold, and whether each holder of the mark has
    /// an intent's lock. `$1` is the lock class.
    pub(crate) fn outstanding(&self) -> String {
        format!(
            "SELECT {}, \
             coalesce(array_agg(l.objid::bigint) FILTER (WHERE l.classid::bigint = $1::bigint + 1), '{{}}'), \
             coalesce(array_agg(l.objid::bigint) FILTER (WHERE l.classid::bigint = $1::bigint + 2), '{{}}'), \
             coalesce(array_agg(l.pid) FILTER (WHERE l.classid::bigint = $1::bigint AND l.objid = 0) \
                <@ array_agg(l.pid) FILTER (WHERE l.classid::bigint = $1::bigint + 1), \
                count(*) FILTER (WHERE l.classid::bigint = $1::bigint AND l.objid = 0) = 0) \
             FROM pg_catalog.pg_locks l \
             WHERE l.locktype = 'advisory' AND l.objsubid = 2 \
             AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()) \
             AND l.classid::bigint BETWEEN $1::bigint AND $1::bigint + 2",
            self.incarnation
        )
    }

    /// A page of the log: `$1` is the position after which to begin, `$2` the most rows to give.
    pub(crate) fn log_page(&self) -> String {
        format!(
            "SELECT m.incarnation, m.pruned_to, m.newest, l.position, l.intent, \
             (SELECT array_agg(t.tag) FROM neverstale.tag t WHERE t.xid = l.xid) \
             FROM (SELECT {} AS incarnation, (SELECT pruned_to FROM neverstale.pruned) AS pruned_to, \
                   (SELECT coalesce(max(position), 0) FROM neverstale.log) AS newest) m \
             LEFT JOIN (SELECT position, intent, xid FROM neverstale.log \
                        WHERE position > $1 ORDER BY position LIMIT $2) l ON true \
             ORDER BY l.position",
            self.incarnation
        )
    }

    /// Fills one entry; the parameters are the view's.
    pub(crate) fn fill(&self, view: ViewId) -> String {
        self.filling(0, self.view(view))
    }

    /// Fills several entries in one snapshot; each comes with its view and the number of its parameters.
    pub(crate) fn fill_many(&self, reads: impl IntoIterator<Item = (ViewId, usize)>) -> String {
        let mut statement = String::new();
        let mut offset = 0;
        for (place, (view, params)) in reads.into_iter().enumerate() {
            let union = if place == 0 { "" } else { " UNION ALL " };
            let filling = self.filling(place, &shift_params(self.view(view), offset));
            write!(statement, "{union}({filling})").expect("a String takes any text");
            offset += params;
        }
        statement + " ORDER BY 1"
    }

    /// Names a view for an error.
    pub(crate) fn view_name(&self, view: ViewId) -> &str {
        &self.names[usize::from(view.0)]
    }

    fn view(&self, view: ViewId) -> &str {
        &self.views[usize::from(view.0)]
    }

    fn filling(&self, place: usize, view: &str) -> String {
        let as_of = if stands(Safeguard::AsOfSnapshot) {
            "coalesce(max(position), 0) FROM neverstale.log"
        } else {
            "last_value FROM neverstale.position"
        };
        format!(
            "SELECT {place}, {} AS incarnation, (SELECT {as_of}) AS as_of, \
             v.body::text AS body, v.tags AS tags, \
             CASE WHEN v.not_after IS NOT NULL THEN \
                floor((least(greatest(v.not_after::numeric, 0), {EXPIRY_SECONDS_MAX}) \
                   - extract(epoch FROM statement_timestamp())) * 1000)::bigint END AS remaining_ms \
             FROM ({view}) v",
            self.incarnation
        )
    }
}

/// Server, database, boot, log, specification and triggers in sixteen bytes; NULL where no boot id is set or the session
/// has lost its settings, so that no answer of such a statement can be used.
fn incarnation(tables: &[String], partitioned: &[String]) -> String {
    // The trigger on `seal` publishes what the others collect, so it is watched like them.
    let seal = "to_regclass('neverstale.seal')";
    let mut watched = format!("SELECT pg_catalog.unnest(ARRAY[{seal}, {}]::oid[])", tables.join(", "));
    for tree in partitioned {
        write!(
            watched,
            " UNION SELECT relid::oid FROM pg_catalog.pg_partition_tree({tree})"
        )
        .expect("a String takes any text");
    }
    let boot = if stands(Safeguard::BootId) { "b.id::text" } else { "''" };
    let epoch = if stands(Safeguard::TriggerEpoch) {
        "concat(g.oid, ':', g.xmin, g.tgenabled)"
    } else {
        "NULL::text"
    };
    format!(
        "(SELECT CASE WHEN current_setting('transaction_isolation') = 'read committed' \
            AND current_setting('row_security') = 'off' AND current_setting('search_path') = 'pg_catalog' \
         THEN substr(sha256(convert_to({boot} || '|' || concat_ws('|', \
            (SELECT system_identifier FROM pg_catalog.pg_control_system()), \
            (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()), \
            extract(epoch FROM pg_catalog.pg_postmaster_start_time()), \
            pg_catalog.pg_relation_filenode(to_regclass('neverstale.log')), \
            (SELECT concat(i.specification, i.suspended) FROM neverstale.installation i), \
            (SELECT string_agg({epoch}, ',' ORDER BY g.oid) \
             FROM pg_catalog.pg_trigger g WHERE g.tgrelid IN ({watched}))), 'UTF8')), 1, 16) END \
         FROM (VALUES (1)) one LEFT JOIN neverstale.boot b ON true)"
    )
}

fn regclass(schema: &str, table: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = format!("{}.{}", quoted(schema), quoted(table)).replace('\'', "''");
    format!("to_regclass('{name}')")
}

/// Adds `offset` to the number of every parameter outside quotes.
fn shift_params(sql: &str, offset: usize) -> String {
    let mut shifted = String::with_capacity(sql.len() + 16);
    let mut quote = None;
    let mut rest = sql.chars().peekable();
    while let Some(character) = rest.next() {
        shifted.push(character);
        match (character, quote) {
            ('\'' | '"', None) => quote = Some(character),
            (_, Some(open)) if open == character => quote = None,
            ('$', None) => {
                let mut number = 0;
                while let Some(digit) = rest.peek().and_then(|next| next.to_digit(10)) {
                    number = number * 10 + digit as usize;
                    rest.next();
                }
                write!(shifted, "{}", number + offset).expect("a String takes any text");
            }
            _ => {}
        }
    }
    shifted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_shifted_outside_quotes_only() {
        assert_eq!(
            shift_params("SELECT $1, '$1', \"$2\", $12", 3),
            "SELECT $4, '$1', \"$2\", $15"
        );
    }

    #[test]
    fn names_are_quoted_for_the_two_languages_they_pass() {
        assert_eq!(
            regclass("pub'lic", "us\"er"),
            "to_regclass('\"pub''lic\".\"us\"\"er\"')"
        );
    }
}
