//! Stage one of publishing: the function that writes the tags of one table, generated from its tag rules.
//!
//! Called for each changed row, and once for a TRUNCATE (PROTOCOL §2). It is cheap where it counts: a transaction that has
//! published the table as a whole leaves at the first look at its seal. It never raises because the application's schema
//! changed: keys are computed inside a block that writes nothing, and whatever goes wrong there publishes the table as a whole.

use neverstale_coherence::{Safeguard, safeguard::stands};
use neverstale_flavour::{Table, TagRule};

use crate::{TAGS_PER_TRANSACTION_MAX, names, publish::Function};

/// The collecting function of a table.
pub(crate) fn function(table: &Table) -> Function {
    let rules: String = table.tags.iter().map(rule_statements).collect();
    let source = names::fill(
        SOURCE,
        &[
            ("table", &names::literal(&table.name)),
            ("table_tag", &names::literal(&format!("{}:*", table.name))),
            ("tags_max", &TAGS_PER_TRANSACTION_MAX.to_string()),
            ("rules", &rules),
            ("when_unsure", wide(Safeguard::WideWhenUnsure)),
            ("beyond_cap", wide(Safeguard::WideBeyondCap)),
            ("at_truncate", wide(Safeguard::TruncatePublished)),
        ],
    );
    Function::trigger(names::collect_function(&table.name), source)
}

/// What `changed` becomes when the table is to be published as a whole; a mutant publishes nothing instead.
fn wide(safeguard: Safeguard) -> &'static str {
    if stands(safeguard) { "NULL" } else { "'{}'" }
}

/// Statements that append the tags of one rule, of the old row and of the new one [16].
fn rule_statements(rule: &TagRule) -> String {
    let rows = ["OLD", "NEW"]
        .into_iter()
        .filter(|row| *row == "NEW" || stands(Safeguard::OldTags));
    let appends = rows.map(|row| {
        let event = if row == "OLD" { "INSERT" } else { "DELETE" };
        format!(
            "      IF TG_OP <> '{event}'{} THEN\n        {}\n      END IF;\n",
            changed_condition(rule),
            append(rule, row)
        )
    });
    appends.collect()
}

/// A rule with `of` is published by UPDATEs that change one of those columns, or the key itself.
fn changed_condition(rule: &TagRule) -> String {
    let Some(of) = &rule.of else { return String::new() };
    let mut columns: Vec<&String> = Vec::new();
    for column in of.iter().chain(&rule.key).chain(&rule.each) {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let image = |row: &str| {
        let fields: Vec<String> = columns
            .iter()
            .map(|column| format!("{row}.{}", names::identifier(column)))
            .collect();
        format!("ROW({})::record", fields.join(", "))
    };
    format!(
        " AND (TG_OP <> 'UPDATE' OR {} OPERATOR(pg_catalog.*<>) {})",
        image("OLD"),
        image("NEW")
    )
}

/// The statement that appends one row's tags of a rule.
fn append(rule: &TagRule, row: &str) -> String {
    let field = |column: &String| format!("{row}.{}::text", names::identifier(column));
    if let Some(column) = &rule.each {
        // A NULL has no elements; anything but an array raises, and so publishes the table as a whole. One more than the cap is enough to pass it.
        return format!(
            "changed := changed || ARRAY(SELECT {} FROM jsonb_array_elements_text({}::jsonb) AS element LIMIT {});",
            tag(rule, &[cased(rule, "element")]),
            field(column),
            TAGS_PER_TRANSACTION_MAX + 1
        );
    }
    let keys: Vec<String> = rule.key.iter().map(|column| cased(rule, &field(column))).collect();
    format!("changed := array_append(changed, {});", tag(rule, &keys))
}

/// The expression of a tag, from those of its keys; NULL where a key is.
fn tag(rule: &TagRule, keys: &[String]) -> String {
    let name = names::literal(&rule.name);
    match keys {
        [] => names::literal(&format!("{}:", rule.name)),
        keys if rule.hashed => format!("neverstale.tag_hashed({name}, {})", keys.join(" || ':' || ")),
        keys => format!("neverstale.tag({name}, {})", keys.join(", ")),
    }
}

fn cased(rule: &TagRule, key: &str) -> String {
    if rule.lower {
        format!(r#"lower({key} COLLATE "default")"#)
    } else {
        key.to_owned()
    }
}

/// `changed` is NULL from the moment on when only the table-wide tag will do.
const SOURCE: &str = r"
DECLARE
  this_xid constant xid8 := pg_current_xact_id();
  capped_before boolean;
  wide_before boolean;
  changed text[];
BEGIN
  SELECT seal.capped, {table} = ANY (seal.wide) INTO capped_before, wide_before
    FROM neverstale.seal WHERE seal.xid = this_xid;
  IF wide_before THEN
    RETURN NULL;
  END IF;

  IF TG_OP = 'TRUNCATE' THEN
    changed := {at_truncate};
  ELSIF capped_before IS NOT TRUE THEN
    BEGIN
      changed := '{}';
{rules}      IF array_position(changed, NULL) IS NOT NULL THEN
        changed := {when_unsure};
      END IF;
    EXCEPTION WHEN OTHERS THEN
      changed := {when_unsure};
    END;
    IF cardinality(changed) = 0 THEN
      RETURN NULL;
    END IF;
    -- Counting costs; a sample of the tags, drawn by their hash, is enough to notice a bulk change.
    IF cardinality(changed) > 32 OR EXISTS (SELECT FROM unnest(changed) AS one WHERE hashtext(one) & 7 = 0) THEN
      IF (SELECT count(*) FROM neverstale.tag WHERE tag.xid = this_xid) + cardinality(changed) > {tags_max} THEN
        changed := {beyond_cap};
        capped_before := true;
      END IF;
    END IF;
  END IF;

  IF changed IS NULL THEN
    INSERT INTO neverstale.tag (xid, tag) VALUES (this_xid, {table_tag}) ON CONFLICT DO NOTHING;
    INSERT INTO neverstale.seal (xid, capped, wide) VALUES (this_xid, capped_before IS TRUE, ARRAY[{table}])
      ON CONFLICT (xid) DO UPDATE SET capped = seal.capped OR excluded.capped, wide = seal.wide || excluded.wide;
  ELSE
    INSERT INTO neverstale.tag (xid, tag) SELECT this_xid, one FROM unnest(changed) AS one ON CONFLICT DO NOTHING;
    IF wide_before IS NULL THEN
      INSERT INTO neverstale.seal (xid) VALUES (this_xid) ON CONFLICT DO NOTHING;
    END IF;
  END IF;
  RETURN NULL;
END
";
