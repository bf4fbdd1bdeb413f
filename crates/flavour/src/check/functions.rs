//! The functions and types that a view may use: built in, and the same answer for the same rows.
//!
//! Everything else is refused: a user's function may read tables that nobody watches, a volatile one gives what no tag can follow.

/// What the checker knows of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Computes.
    Plain,
    /// Gives one of the values it is given: `min`, `max`.
    HandsThrough,
    /// `lower`.
    Lower,
    /// Reads the time at which the statement or transaction began.
    Clock,
}

/// Known functions of `pg_catalog` that neither change nor depend on anything but their arguments and the database's encoding.
const PLAIN: &[&str] = &[
    "abs",
    "array_agg",
    "array_append",
    "array_cat",
    "array_length",
    "array_position",
    "array_remove",
    "array_to_json",
    "array_to_string",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "ceil",
    "char_length",
    "coalesce",
    "concat",
    "concat_ws",
    "convert_to",
    "count",
    "date_part",
    "dense_rank",
    "encode",
    "every",
    "first_value",
    "floor",
    "generate_series",
    "generate_subscripts",
    "greatest",
    "json_agg",
    "json_array_elements",
    "json_array_elements_text",
    "json_array_length",
    "json_build_array",
    "json_build_object",
    "json_each",
    "json_each_text",
    "json_object_agg",
    "json_object_keys",
    "json_typeof",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_array_length",
    "jsonb_build_array",
    "jsonb_build_object",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_exists",
    "jsonb_object",
    "jsonb_object_agg",
    "jsonb_object_keys",
    "jsonb_pretty",
    "jsonb_set",
    "jsonb_strip_nulls",
    "jsonb_typeof",
    "lag",
    "lead",
    "least",
    "left",
    "length",
    "ltrim",
    "md5",
    "nullif",
    "octet_length",
    "position",
    "rank",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_split_to_array",
    "regexp_split_to_table",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "rtrim",
    "sha256",
    "split_part",
    "starts_with",
    "string_agg",
    "string_to_array",
    "strpos",
    "substr",
    "sum",
    "to_json",
    "to_jsonb",
    "translate",
    "trim",
    "trunc",
    "unnest",
    "upper",
];

/// Types that a value may be cast to: their casts depend on no setting of the session.
const TYPES: &[&str] = &[
    "text",
    "varchar",
    "character varying",
    "json",
    "jsonb",
    "bigint",
    "integer",
    "int",
    "int4",
    "int8",
    "smallint",
    "boolean",
    "bool",
    "numeric",
    "double precision",
    "text[]",
    "jsonb[]",
    "bigint[]",
    "uuid",
    "bytea",
];

pub(super) fn kind(name: &str) -> Option<Kind> {
    match name {
        "lower" => Some(Kind::Lower),
        "min" | "max" => Some(Kind::HandsThrough),
        "now" | "statement_timestamp" | "transaction_timestamp" => Some(Kind::Clock),
        _ => PLAIN.binary_search(&name).is_ok().then_some(Kind::Plain),
    }
}

pub(super) fn is_known_type(name: &str) -> bool {
    TYPES.contains(&name)
}

/// Whether a cast keeps the text of a value.
pub(super) fn is_text(name: &str) -> bool {
    matches!(name, "text" | "varchar" | "character varying")
}

pub(super) fn is_json(name: &str) -> bool {
    matches!(name, "json" | "jsonb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_holds_nothing_volatile() {
        assert!(PLAIN.is_sorted());
        for volatile in [
            "random",
            "clock_timestamp",
            "nextval",
            "pg_sleep",
            "gen_random_uuid",
            "timeofday",
            "current_setting",
            "set_config",
            "setval",
        ] {
            assert_eq!(kind(volatile), None, "{volatile}");
        }
    }
}
