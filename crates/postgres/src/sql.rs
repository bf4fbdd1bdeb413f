//! The text of every statement that readers rest on.
//!
//! Each names the incarnation in its own snapshot (PROTOCOL §3, §4). `as_of` is a plain sub-select on `log`: through a
//! function it could come from a later snapshot than the value [14]. Nothing here is cast by a session's settings.

use std::fmt::Write as _;

use neverstale_coherence::{Safeguard, safeguard::stands};
use neverstale_flavour::{Flavour, Table, ViewId};

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
    /// Writes the statements for the watched tables as they are now.
    pub(crate) fn new(flavour: &Flavour, app_schema: &str, found: &[FoundTable]) -> Self {
        let watched = |table: &Table| {
            let name = qualified(table.schema(app_schema), &table.name);
            match found.iter().find(|found| found.name == table.name) {
                Some(found) if found.is_partitioned => Watched::Tree(name),
                Some(_) => Watched::Table(name),
                None => Watched::Missing(name),
            }
        };
        let tables: Vec<Watched> = flavour.tables.iter().map(watched).collect();
        Self {
            incarnation: incarnation(&tables),
            views: (0..flavour.views.len())
                .map(|id| flavour.view_sql(ViewId(id as u16), app_schema))
                .collect(),
            names: flavour.views.iter().map(|view| view.name.clone()).collect(),
        }
    }

    /// Finds the watched tables, and the one of ours among them; `$1` is the application's schema, `$2` their names.
    pub(crate) const FOUND: &str = "SELECT c.relname::text, c.relkind = 'p' FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE (n.nspname = $1 OR n.nspname = 'neverstale' AND c.relname = 'access_overlay') AND c.relname = ANY ($2)";

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

    #[cfg(feature = "simulation")]
    pub(crate) fn views_len(&self) -> usize {
        self.views.len()
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

/// A watched table that is there when the statements are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundTable {
    pub(crate) name: String,
    /// One that becomes partitioned later changes its triggers, and with them the incarnation.
    pub(crate) is_partitioned: bool,
}

/// A watched table, by its qualified name.
enum Watched {
    Table(String),
    Tree(String),
    /// Looked up anew by each statement, so that the incarnation changes when it comes into being.
    Missing(String),
}

/// The boot, server, database, log, specification and triggers in sixteen bytes; NULL where no boot id is set or the session
/// has lost its settings, so that no answer of such a statement can be used.
///
/// It is a part of every statement, so its cost counts (docs/design/0005-cheap-fences.md). The bytes are of fixed width but for
/// the path of the log's file, which holds the oid of the database too. A name written as a constant of type `regclass` is
/// resolved when the statement is planned, and Postgres plans it again when that relation changes or gives its name away.
fn incarnation(tables: &[Watched]) -> String {
    let boot = if stands(Safeguard::BootId) {
        "uuid_send(b.id)"
    } else {
        "''::bytea"
    };
    let epoch = if stands(Safeguard::TriggerEpoch) {
        trigger_epoch(tables)
    } else {
        "0".to_owned()
    };
    format!(
        "(SELECT CASE WHEN current_setting('transaction_isolation') = 'read committed' \
            AND current_setting('row_security') = 'off' AND current_setting('search_path') = 'pg_catalog' \
         THEN substr(sha256({boot} || timestamptz_send(pg_catalog.pg_postmaster_start_time()) \
            || textsend(pg_catalog.pg_relation_filepath('neverstale.log'::regclass)) \
            || textsend(i.specification) || boolsend(i.suspended) || int8send({epoch})), 1, 16) END \
         FROM (VALUES (1)) one LEFT JOIN neverstale.boot b ON true LEFT JOIN neverstale.installation i ON true)"
    )
}

/// All triggers of the watched tables, but for those by which Postgres keeps foreign keys: they change no row that they
/// are fired for. A trigger's row has another `xmin` whenever it was made or altered.
fn trigger_epoch(tables: &[Watched]) -> String {
    // The trigger on `seal` publishes what the others collect, so it is watched like them.
    let mut plain = "'neverstale.seal'::regclass".to_owned();
    let mut others = String::new();
    for table in tables {
        match table {
            Watched::Table(name) => write!(plain, ", {name}::regclass"),
            Watched::Tree(name) => write!(
                others,
                " OR g.tgrelid IN (SELECT relid::oid FROM pg_catalog.pg_partition_tree({name}))"
            ),
            Watched::Missing(name) => write!(others, " OR g.tgrelid = to_regclass({name})"),
        }
        .expect("a String takes any text");
    }
    format!(
        "(SELECT coalesce(bit_xor(hash_record_extended(ROW(g.oid, g.xmin, g.tgenabled), 0)), 0) \
         FROM pg_catalog.pg_trigger g WHERE NOT (g.tgisinternal AND g.tgconstraint <> 0) \
         AND (g.tgrelid = ANY (ARRAY[{plain}]::oid[]){others}))"
    )
}

/// The literal that names a table in full.
fn qualified(schema: &str, table: &str) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let name = format!("{}.{}", quoted(schema), quoted(table)).replace('\'', "''");
    format!("'{name}'")
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
        assert_eq!(qualified("pub'lic", "us\"er"), "'\"pub''lic\".\"us\"\"er\"'");
    }
}
