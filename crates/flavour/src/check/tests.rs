use super::*;

/// Tables of the tests: users and groups as upstream has them, members as rows and as a JSON list, keys hashed.
fn tables() -> Vec<Table> {
    let rule = |name: &str, key: &[&str]| TagRule {
        name: name.to_owned(),
        key: key.iter().map(|column| (*column).to_owned()).collect(),
        ..TagRule::default()
    };
    let table = |name: &str, columns: &[&str], tags: Vec<TagRule>| Table {
        name: name.to_owned(),
        ours: false,
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        tags,
    };
    vec![
        table(
            "user",
            &["id", "email", "role", "created_at", "api_key"],
            vec![
                rule("user.id", &["id"]),
                TagRule {
                    lower: true,
                    ..rule("user.email", &["email"])
                },
                TagRule {
                    hashed: true,
                    ..rule("user.api_key", &["api_key"])
                },
                TagRule {
                    of: Some(vec!["created_at".to_owned()]),
                    ..rule("user.first", &[])
                },
            ],
        ),
        table(
            "group",
            &["id", "parent", "name", "user_ids"],
            vec![
                rule("group.id", &["id"]),
                TagRule {
                    each: Some("user_ids".to_owned()),
                    ..rule("group.member", &[])
                },
            ],
        ),
        table(
            "member",
            &["group_id", "user_id"],
            vec![rule("member.user", &["user_id"])],
        ),
        table(
            "grant",
            &["kind", "thing", "who"],
            vec![rule("grant.thing", &["kind", "thing"])],
        ),
        table("bare", &["id"], vec![]),
    ]
}

/// Puts a body and tags into the form that a view has.
fn view(body: &str, tags: &str) -> String {
    format!("SELECT (SELECT {body}) AS body, ARRAY[{tags}] AS tags, NULL::bigint AS not_after")
}

fn judge(sql: &str) -> Result<Findings, Refusal> {
    let params = (1..=9)
        .rev()
        .find(|number| sql.contains(&format!("${number}")))
        .unwrap_or(0);
    check(sql, params, &tables(), Keeping::Kept)
}

#[track_caller]
fn accepted(sql: &str) -> Findings {
    judge(sql).unwrap_or_else(|refusal| panic!("refused in line {}: {}\n{sql}", refusal.line, refusal.reason))
}

#[track_caller]
fn refused(sql: &str, reason: &str) {
    match judge(sql) {
        Ok(_) => panic!("accepted, not refused for: {reason}\n{sql}"),
        Err(refusal) => assert!(
            refusal.reason.contains(reason) && !refusal.next_step.is_empty(),
            "refused for another reason: {}\n{sql}",
            refusal.reason
        ),
    }
}

#[test]
fn a_table_bound_to_a_parameter_is_covered_by_that_parameters_tag() {
    let findings = accepted(&view(
        "u.role FROM app.\"user\" AS u WHERE u.id = $1",
        "neverstale.tag('user.id', $1)",
    ));
    assert_eq!(
        findings.columns["user"],
        BTreeSet::from(["id".to_owned(), "role".to_owned()])
    );
    assert!(!findings.is_timed);
    accepted(&view(
        "u.role FROM app.user u WHERE $1 = u.id AND u.role <> 'x'",
        "neverstale.tag('user.id', $1)",
    ));
    accepted(&view(
        "u.role FROM app.\"user\" AS u WHERE u.id = 'root'",
        "neverstale.tag('user.id', 'root')",
    ));
}

#[test]
fn an_unbound_table_is_refused() {
    let tag = "neverstale.tag('user.id', $1)";
    for condition in [
        "u.role = $1",
        "u.id <> $1",
        "u.id = $1 OR u.role = 'admin'",
        "NOT u.id = $1",
        "u.id LIKE $1",
        "u.id = u.role AND $1 = ''",
        "u.id = ANY (ARRAY[$1])",
    ] {
        refused(
            &view(&format!("u.role FROM app.\"user\" AS u WHERE {condition}"), tag),
            "is not bound",
        );
    }
    refused(
        &view("count(*) FROM app.\"user\" AS u WHERE $1 = ''", tag),
        "is not bound",
    );
}

#[test]
fn a_bound_table_needs_the_tag_of_what_binds_it() {
    refused(
        &view("u.role FROM app.\"user\" AS u WHERE u.id = $1", "''"),
        "no tag of that rule is given",
    );
    refused(
        &view(
            "u.role FROM app.\"user\" AS u WHERE u.id = $1 AND $2 = ''",
            "neverstale.tag('user.id', $2)",
        ),
        "not of the values that bind it",
    );
    // The row's own column is no tag for a row that does not exist yet.
    refused(
        "WITH u AS (SELECT v.id FROM app.\"user\" AS v WHERE v.id = $1) SELECT NULL AS body, ARRAY(SELECT neverstale.tag('user.id', u.id) FROM u) AS tags, NULL AS not_after",
        "not of the values that bind it",
    );
    refused(
        &view(
            "u.role FROM app.\"user\" AS u WHERE u.id = $1",
            "neverstale.tag('user.ID', $1)",
        ),
        "there is no tag rule",
    );
    refused(
        &view(
            "u.role FROM app.\"user\" AS u WHERE u.id = $1",
            "neverstale.tag('user.id', $1, $1)",
        ),
        "takes 1 arguments",
    );
    refused(
        &view(
            "u.role FROM app.\"user\" AS u WHERE u.id = $1",
            "neverstale.tag($1, $1)",
        ),
        "not a literal",
    );
}

#[test]
fn a_chain_is_bound_by_rows_that_are_bound() {
    let chain = "WITH m AS (SELECT r.group_id FROM app.\"member\" AS r WHERE r.user_id = $1)
        SELECT (SELECT json_agg(g.name) FROM m JOIN app.\"group\" AS g ON g.id = m.group_id) AS body,
               ARRAY[neverstale.tag('member.user', $1)] || ARRAY(SELECT neverstale.tag('group.id', m.group_id) FROM m) AS tags, NULL::bigint AS not_after";
    accepted(chain);
    refused(
        &chain.replace("ON g.id = m.group_id", "ON g.name = m.group_id"),
        "is not bound",
    );
    refused(
        &chain.replace(
            "neverstale.tag('group.id', m.group_id)",
            "neverstale.tag('group.id', $1)",
        ),
        "not of the values that bind it",
    );
    refused(&chain.replace("WHERE r.user_id = $1", "WHERE $1 = ''"), "is not bound");
    accepted(&chain.replace(
        "m JOIN app.\"group\" AS g ON g.id = m.group_id",
        "app.\"group\" AS g WHERE g.id IN (SELECT m.group_id FROM m)",
    ));
    accepted(&chain.replace(
        "m JOIN app.\"group\" AS g ON g.id = m.group_id",
        "m CROSS JOIN LATERAL (SELECT h.name FROM app.\"group\" AS h WHERE h.id = m.group_id) AS g",
    ));
    accepted(&chain.replace("m JOIN app.\"group\"", "m LEFT JOIN app.\"group\""));
    // The ON of a left join does not narrow the left side.
    refused(
        &chain.replace(
            "m JOIN app.\"group\" AS g ON g.id = m.group_id",
            "app.\"group\" AS g LEFT JOIN m ON g.id = m.group_id",
        ),
        "is not bound",
    );
}

#[test]
fn two_tables_that_only_bind_each_other_are_refused() {
    refused(
        &view(
            "g.name FROM app.\"member\" AS m JOIN app.\"group\" AS g ON g.id = m.group_id AND m.user_id = g.id WHERE $1 = ''",
            "neverstale.tag('group.id', $1), neverstale.tag('member.user', $1)",
        ),
        "table `member`",
    );
}

#[test]
fn a_recursion_is_bound_step_by_step() {
    let recursion = "WITH RECURSIVE up (id) AS (
          SELECT m.group_id FROM app.\"member\" AS m WHERE m.user_id = $1
          UNION
          SELECT g.parent FROM up JOIN app.\"group\" AS g ON g.id = up.id)
        SELECT (SELECT json_agg(up.id) FROM up) AS body,
               ARRAY[neverstale.tag('member.user', $1)] || ARRAY(SELECT neverstale.tag('group.id', up.id) FROM up) AS tags, NULL::bigint AS not_after";
    accepted(recursion);
    refused(
        &recursion.replace("ON g.id = up.id", "ON g.name = up.id"),
        "is not bound",
    );
    refused(
        &recursion.replace(
            "FROM up) AS tags",
            "FROM (SELECT n.group_id AS id FROM app.\"member\" AS n WHERE n.user_id = $1) AS up) AS tags",
        ),
        "not of the values that bind it",
    );
}

#[test]
fn lower_hashed_and_each_rules_have_their_spellings() {
    let by = |condition: &str, tag: &str| view(&format!("u.role FROM app.\"user\" AS u WHERE {condition}"), tag);
    accepted(&by(
        "lower(u.email) = lower($1)",
        "neverstale.tag('user.email', lower($1))",
    ));
    accepted(&by("u.email = $1", "neverstale.tag('user.email', lower($1))"));
    refused(
        &by("lower(u.email) = lower($1)", "neverstale.tag('user.email', $1)"),
        "does not fit",
    );
    refused(
        &by("lower(u.id) = lower($1)", "neverstale.tag('user.id', lower($1))"),
        "does not fit",
    );
    accepted(&by("u.api_key = $1", "neverstale.tag_hashed('user.api_key', $1)"));
    refused(
        &by("u.api_key = $1", "neverstale.tag('user.api_key', $1)"),
        "wrong function",
    );
    let each = |condition: &str| {
        view(
            &format!("json_agg(g.name) FROM app.\"group\" AS g WHERE {condition}"),
            "neverstale.tag('group.member', $1)",
        )
    };
    accepted(&each("g.user_ids::jsonb @> jsonb_build_array($1)"));
    refused(&each("g.user_ids::jsonb @> to_jsonb($1)"), "is not bound");
    refused(&each("g.user_ids::text = $1"), "");
}

#[test]
fn rules_of_several_keys_need_them_all() {
    let by = |condition: &str, tag: &str| view(&format!("g.who FROM app.\"grant\" AS g WHERE {condition}"), tag);
    accepted(&by(
        "g.kind = 'model' AND g.thing = $1",
        "neverstale.tag('grant.thing', 'model', $1)",
    ));
    accepted(&by(
        "g.kind = split_part($1, ':', 1) AND g.thing = $1",
        "neverstale.tag('grant.thing', split_part($1, ':', 1), $1)",
    ));
    refused(
        &by(
            "g.kind = split_part($1, ':', 1) AND g.thing = $1",
            "neverstale.tag('grant.thing', split_part($1, ':', 2), $1)",
        ),
        "not of the values that bind it",
    );
    refused(
        &by("g.thing = $1", "neverstale.tag('grant.thing', 'model', $1)"),
        "is not bound",
    );
    refused(
        &by("g.kind = $1 AND g.thing = $2", "neverstale.tag('grant.thing', $2, $1)"),
        "not of the values that bind it",
    );
}

#[test]
fn a_key_may_be_computed_from_parameters_if_the_tag_is_computed_alike() {
    let by = |value: &str, tag: &str| {
        view(
            &format!("u.role FROM app.\"user\" AS u WHERE u.id = {value}"),
            &format!("neverstale.tag('user.id', {tag})"),
        )
    };
    accepted(&by("$1 || 'x'", "$1 || 'x'"));
    refused(&by("$1 || 'x'", "$1"), "not of the values that bind it");
    refused(&by("$1", "$1 || 'x'"), "not of the values that bind it");
}

#[test]
fn a_rule_without_key_covers_what_its_columns_show() {
    let tag = "neverstale.tag('user.first', '')";
    accepted(&view("min(u.created_at) FROM app.\"user\" AS u", tag));
    refused(&view("min(u.role) FROM app.\"user\" AS u", tag), "does not see");
    refused(&view("b.id FROM app.\"bare\" AS b", tag), "is not bound");
}

#[test]
fn what_is_not_watched_or_not_named_is_refused() {
    let tag = "neverstale.tag('user.id', $1)";
    refused(
        &view("u.password FROM app.\"user\" AS u WHERE u.id = $1", tag),
        "column `password`",
    );
    refused(
        &view("a.id FROM app.\"auth\" AS a WHERE a.id = $1", tag),
        "`auth` is not watched",
    );
    refused(
        &view("to_jsonb(u) FROM app.\"user\" AS u WHERE u.id = $1", tag),
        "whole row",
    );
    refused(&view("u.* FROM app.\"user\" AS u WHERE u.id = $1", tag), "not watched");
    refused(
        &view("role FROM app.\"user\" AS u WHERE u.id = $1", tag),
        "not qualified",
    );
    refused(
        &view("u.role FROM \"user\" AS u WHERE u.id = $1", tag),
        "neither a CTE nor written app.",
    );
    refused(
        &view("u.role FROM public.\"user\" AS u WHERE u.id = $1", tag),
        "not of the application",
    );
}

#[test]
fn user_functions_and_volatile_ones_are_refused() {
    for call in [
        "my_function(u.role)",
        "random()",
        "nextval('s')",
        "clock_timestamp()",
        "app.secret(u.role)",
        "current_setting('x')",
        "pg_sleep(1)",
        "u.role::regclass",
    ] {
        let sql = view(
            &format!("{call} FROM app.\"user\" AS u WHERE u.id = $1"),
            "neverstale.tag('user.id', $1)",
        );
        assert!(judge(&sql).is_err(), "{call}");
    }
    refused(&view("x FROM my_rows($1) AS x", "''"), "not known to be built in");
    for sql in [
        "DELETE FROM app.\"user\"",
        "SELECT 1 AS body, NULL AS tags, NULL AS not_after; SELECT 2",
        "SELECT FROM",
        "SELECT 1",
        "SELECT 1 AS body, NULL AS tags, NULL AS not_after FROM app.\"user\" FOR UPDATE",
    ] {
        assert!(judge(sql).is_err(), "{sql}");
    }
}

#[test]
fn the_clock_needs_an_expiry() {
    let sql = |not_after: &str| {
        format!(
            "SELECT (SELECT u.role FROM app.\"user\" AS u WHERE u.id = $1 AND u.created_at > date_part('epoch', now())) AS body, ARRAY[neverstale.tag('user.id', $1)] AS tags, {not_after} AS not_after"
        )
    };
    refused(&sql("NULL::bigint"), "`not_after` is always NULL");
    assert!(accepted(&sql("(SELECT v.created_at FROM app.\"user\" AS v WHERE v.id = $1)")).is_timed);
}

#[test]
fn parameters_are_declared_and_used() {
    let sql = view(
        "u.role FROM app.\"user\" AS u WHERE u.id = $1",
        "neverstale.tag('user.id', $1)",
    );
    assert!(
        check(&sql, 2, &tables(), Keeping::Kept)
            .unwrap_err()
            .reason
            .contains("$2 is declared but not used")
    );
    assert!(
        check(&sql, 0, &tables(), Keeping::Kept)
            .unwrap_err()
            .reason
            .contains("has 0 parameters")
    );
}

#[test]
fn refusals_carry_the_line() {
    let refusal =
        judge("SELECT (\n  SELECT u.role\n  FROM app.\"user\" AS u) AS body, '{}'::text[] AS tags, NULL AS not_after")
            .unwrap_err();
    assert_eq!(refusal.line, 3, "{}", refusal.reason);
    let refusal = judge("SELECT (\n  SELECT random()) AS body, '{}'::text[] AS tags, NULL AS not_after").unwrap_err();
    assert_eq!(refusal.line, 2, "{}", refusal.reason);
}

#[test]
fn answers_that_are_not_kept_need_no_tags_and_everything_else_as_well() {
    let straight = |sql: &str| check(sql, 0, &tables(), Keeping::Straight);
    let unwatched =
        "SELECT (SELECT json_agg(u.bio) FROM app.\"user\" AS u) AS body, '{}'::text[] AS tags, NULL AS not_after";
    assert!(judge(unwatched).is_err());
    let found = straight(unwatched).unwrap().unwatched;
    assert_eq!(found, BTreeSet::from([("user".to_owned(), "bio".to_owned())]));
    let counted = "SELECT (SELECT count(*) FROM app.note AS n) AS body, '{}'::text[] AS tags, NULL AS not_after";
    assert!(
        straight(counted)
            .unwrap_err()
            .reason
            .contains("no column is read of table `note`")
    );
    straight(&counted.replace('*', "n.id")).unwrap();
    let ours = counted.replace("app.note", "neverstale.note").replace('*', "n.id");
    assert!(straight(&ours).unwrap_err().reason.contains("is not watched"));
    let volatile = "SELECT (SELECT random()) AS body, '{}'::text[] AS tags, NULL AS not_after";
    straight(volatile).unwrap_err();
}
