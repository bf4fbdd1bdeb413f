//! The functions that do not depend on the flavour: stage two of publishing, and what sidecars call.
//!
//! `publish` is PROTOCOL §2, stage two; the order of its steps is the protocol. `tag` and `tag_hashed` are the one way a tag is
//! spelt, by triggers and by views alike [16].

use neverstale_coherence::{Safeguard, safeguard::stands};

use crate::names;

/// A function of ours as it should be.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    /// Name in schema `neverstale`.
    pub(crate) name: String,
    /// Arguments as `pg_get_function_identity_arguments` prints them.
    pub(crate) arguments: &'static str,
    /// Everything of the definition between the name and `AS`.
    head: String,
    /// Text between the dollar quotes, which Postgres keeps as `prosrc`.
    pub(crate) source: String,
    /// Whether it runs with its owner's rights.
    pub(crate) definer: bool,
    /// Settings bound to it, as `pg_proc.proconfig` holds them.
    pub(crate) config: Vec<&'static str>,
}

impl Function {
    /// A trigger function with its owner's rights [21].
    pub(crate) fn trigger(name: String, source: String) -> Self {
        Self::definer(name, "", "trigger", "VOLATILE", source)
    }

    fn definer(name: String, arguments: &'static str, returns: &str, volatility: &str, source: String) -> Self {
        let head = format!(
            "({arguments})\nRETURNS {returns}\nLANGUAGE plpgsql {volatility} SECURITY DEFINER\nSET search_path = pg_catalog, pg_temp"
        );
        Self {
            name,
            arguments,
            head,
            source,
            definer: true,
            config: vec![SEARCH_PATH],
        }
    }

    /// `neverstale."name"(arguments)`, to be used after FUNCTION.
    pub(crate) fn signature(&self) -> String {
        format!("neverstale.{}({})", names::identifier(&self.name), self.arguments)
    }

    /// Statements that make or replace it and keep it from strangers.
    pub(crate) fn create(&self) -> [String; 2] {
        [
            format!(
                "CREATE OR REPLACE FUNCTION neverstale.{}{}\nAS $neverstale${}$neverstale$",
                names::identifier(&self.name),
                self.head,
                self.source
            ),
            format!("REVOKE ALL ON FUNCTION {} FROM PUBLIC", self.signature()),
        ]
    }
}

const SEARCH_PATH: &str = "search_path=pg_catalog, pg_temp";

/// The flavour-independent functions of an installation with this lock class.
pub(crate) fn functions(lock_class: i32) -> Vec<Function> {
    let mut publish = Function::trigger(
        "publish".into(),
        names::fill(&standing(PUBLISH), &[("lock_class", &lock_class.to_string())]),
    );
    // The server disarms `statement_timeout` before deferred triggers run, so only this keeps a commit from hanging [18].
    publish.head.push_str("\nSET lock_timeout = '10s'");
    publish.config.push("lock_timeout=10s");
    vec![
        pure("tag", "rule text, VARIADIC keys text[]", TAG),
        pure("tag_hashed", "rule text, key text", TAG_HASHED),
        publish,
        Function::definer("boot".into(), "", "uuid", "VOLATILE", BOOT.into()),
        Function::definer("begin_anew".into(), "", "uuid", "VOLATILE", BEGIN_ANEW.into()),
        Function::definer("prune".into(), "keep bigint", "bigint", "VOLATILE", PRUNE.into()),
    ]
}

/// A function of its arguments alone; no search path is set for it, so its body names everything in full.
fn pure(name: &str, arguments: &'static str, source: &str) -> Function {
    let head = format!("({arguments})\nRETURNS text\nLANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE");
    Function {
        name: name.into(),
        arguments,
        head,
        source: source.into(),
        definer: false,
        config: Vec::new(),
    }
}

/// A NULL among the keys gives NULL. Keys beyond 200 bytes stand as their hash, so that a tag always fits into an index.
const TAG: &str = r"
DECLARE
  key pg_catalog.text;
  tag pg_catalog.text := rule OPERATOR(pg_catalog.||) ':';
  first pg_catalog.bool := true;
BEGIN
  FOREACH key IN ARRAY keys LOOP
    IF key IS NULL THEN
      RETURN NULL;
    END IF;
    IF pg_catalog.octet_length(key) OPERATOR(pg_catalog.>) 200 THEN
      key := pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(key, 'UTF8')), 'hex');
    END IF;
    IF NOT first THEN
      tag := tag OPERATOR(pg_catalog.||) ':';
    END IF;
    tag := tag OPERATOR(pg_catalog.||) key;
    first := false;
  END LOOP;
  RETURN tag;
END
";

const TAG_HASHED: &str = r"
BEGIN
  RETURN rule OPERATOR(pg_catalog.||) ':'
    OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(key, 'UTF8')), 'hex');
END
";

/// `fired_at` tells the first firing in a statement from the second: COMMIT fires twice in one statement, so what runs between
/// is all other deferred work; each `SET CONSTRAINTS … IMMEDIATE` in mid-transaction fires once only, however often it is said [18].
const PUBLISH: &str = r"
DECLARE
  lock_class constant integer := {lock_class};
  fired timestamptz;
  commit_wait_ms bigint;
  marks integer[];
  mark integer;
  this_intent bigint;
  this_position bigint;
  newest bigint;
BEGIN
  SELECT seal.fired_at INTO fired FROM neverstale.seal WHERE seal.xid = NEW.xid;
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  IF fired IS DISTINCT FROM statement_timestamp() THEN
    SET CONSTRAINTS neverstale.neverstale_publish DEFERRED;
    UPDATE neverstale.seal SET stage = 1, fired_at = statement_timestamp() WHERE seal.xid = NEW.xid;
    RETURN NULL;
  END IF;

  -- The mark, and only then the wait: whoever raises the wait drains the marks before he raises the lease.
  PERFORM pg_advisory_xact_lock_shared(lock_class, 0);
  SELECT wait.last_value INTO commit_wait_ms FROM neverstale.wait;
  IF commit_wait_ms > 0 THEN
    -- All tags are known here. They are marked before the intent, so that a fence may except just these from its lease.
    SELECT array_agg(('x' || encode(substr(sha256(convert_to(tag.tag, 'UTF8')), 1, 4), 'hex'))::bit(32)::integer) INTO marks
      FROM (SELECT tag.tag FROM neverstale.tag WHERE tag.xid = NEW.xid LIMIT 65) AS tag;
    IF cardinality(marks) > 64 THEN
      marks := ARRAY[0];
    END IF;
    FOREACH mark IN ARRAY coalesce(marks, ARRAY[0]) LOOP
      PERFORM pg_advisory_xact_lock_shared(lock_class + 2, mark);
    END LOOP;
    this_intent := nextval('neverstale.intent');
    PERFORM pg_advisory_xact_lock_shared(lock_class + 1, (this_intent & 2147483647)::integer);
    -- pg_sleep follows the wall clock: a step spoils one slice of eleven, and the eleventh pays for it.
    FOR part IN 1..11 LOOP
      PERFORM pg_sleep(commit_wait_ms / 10000.0);
    END LOOP;
  END IF;

  -- From here to the end of the commit watched transactions pass one at a time.
  PERFORM pg_advisory_xact_lock(lock_class, 1);
  this_position := nextval('neverstale.position');
  SELECT max(log.position) INTO newest FROM neverstale.log;
  IF this_position <= newest THEN
    RAISE EXCEPTION 'sequence neverstale.position was rewound to %, the log is at %', this_position, newest
      USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Run neverstale install; it puts the sequence right.';
  END IF;
  INSERT INTO neverstale.log (position, intent, xid) VALUES (this_position, this_intent, NEW.xid);
  PERFORM pg_notify('neverstale', this_position::text);
  DELETE FROM neverstale.seal WHERE seal.xid = NEW.xid;
  RETURN NULL;
END
";

/// What stands in `PUBLISH` for a safeguard, and what stands there when a proof takes it away.
const WITHOUT: &[(Safeguard, &str, &str)] = &[
    (
        Safeguard::SecondStage,
        "IF fired IS DISTINCT FROM statement_timestamp() THEN",
        "IF false THEN",
    ),
    (
        Safeguard::WaitWithoutSnapshot,
        "SELECT wait.last_value INTO commit_wait_ms FROM neverstale.wait;",
        "SELECT installation.lease_ms INTO commit_wait_ms FROM neverstale.installation;",
    ),
    (Safeguard::EveryTagMarked, "LIMIT 65) AS tag;", "LIMIT 1) AS tag;"),
    (
        Safeguard::EverythingMarked,
        "marks := ARRAY[0];",
        "marks := marks[1:64];",
    ),
    (
        Safeguard::MarkBeforeIntent,
        "PERFORM pg_advisory_xact_lock_shared(lock_class, 0);",
        "this_intent := nextval('neverstale.intent'); PERFORM pg_advisory_xact_lock_shared(lock_class, 0);",
    ),
    (
        Safeguard::MarkBeforeIntent,
        "    this_intent := nextval('neverstale.intent');\n",
        "",
    ),
    (
        Safeguard::CommitWait,
        "SELECT wait.last_value INTO commit_wait_ms FROM neverstale.wait;",
        "commit_wait_ms := 0;",
    ),
    (
        Safeguard::CommitWaitSlices,
        "FOR part IN 1..11 LOOP\n      PERFORM pg_sleep(commit_wait_ms / 10000.0);",
        "FOR part IN 1..1 LOOP\n      PERFORM pg_sleep(commit_wait_ms / 1000.0);",
    ),
    (
        Safeguard::OrderLock,
        "PERFORM pg_advisory_xact_lock(lock_class, 1);",
        "",
    ),
    (
        Safeguard::NewPosition,
        "IF this_position <= newest THEN",
        "IF false THEN",
    ),
];

/// The source with all safeguards that stand, which is the source as it is but in a proof.
fn standing(source: &str) -> String {
    let taken_away = WITHOUT.iter().filter(|(safeguard, ..)| !stands(*safeguard));
    taken_away.fold(source.to_owned(), |source, (_, with, without)| {
        source.replace(with, without)
    })
}

/// A restore makes the table first, then fills it, and only then gives it its key: before that a row of ours would be one too
/// many, and the restore would fail.
const BOOT: &str = r"
BEGIN
  IF to_regclass('neverstale.boot_pkey') IS NOT NULL THEN
    INSERT INTO neverstale.boot (id) VALUES (gen_random_uuid()) ON CONFLICT DO NOTHING;
  END IF;
  RETURN (SELECT boot.id FROM neverstale.boot);
END
";

/// Called by a sidecar that saw positions or intents go back under one incarnation: whatever was cached anywhere, was said
/// on the channel or lies in a caller's token belongs to the past from here on [2].
const BEGIN_ANEW: &str = r"
BEGIN
  UPDATE neverstale.boot SET id = gen_random_uuid();
  RETURN (SELECT boot.id FROM neverstale.boot);
END
";

/// Gives how many positions it removed. Tags go by the snapshot's oldest running transaction: rows of one that still runs
/// are never touched, not even when a logical restore brought an old row under the same number.
const PRUNE: &str = r"
DECLARE
  edge bigint;
  removed bigint;
BEGIN
  SELECT log.position INTO edge FROM neverstale.log ORDER BY log.position DESC OFFSET greatest(keep, 1) LIMIT 1;
  IF edge IS NULL THEN
    RETURN 0;
  END IF;
  UPDATE neverstale.pruned SET pruned_to = greatest(pruned.pruned_to, edge);
  DELETE FROM neverstale.log WHERE log.position <= edge;
  GET DIAGNOSTICS removed = ROW_COUNT;
  DELETE FROM neverstale.tag
    WHERE tag.xid < pg_snapshot_xmin(pg_current_snapshot())
      AND NOT EXISTS (SELECT FROM neverstale.log WHERE log.xid = tag.xid);
  RETURN removed;
END
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proof_takes_away_stands_there_once() {
        for (safeguard, with, _) in WITHOUT {
            assert_eq!(PUBLISH.matches(with).count(), 1, "{}: {with}", safeguard.name());
        }
    }
}
