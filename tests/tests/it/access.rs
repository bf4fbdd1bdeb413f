//! Who may do what, over HTTP on three sidecars and from the command line, for the three flavours.
//!
//! That decisions are right is shown in `crates/rbac`; here it is seen that they are those of the running product, and that whatever
//! changes a grant, by command, by `PATCH` or by plain SQL, is known to the very next decision on every sidecar.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neverstale_testkit::{Answer, Application, Client, Sidecar, run};
use serde_json::{Value, json};

use crate::house::{House, Plan, trusted, until};

/// An admin's pipe `f`, and a model `f` that is granted to the group; its owner is no super admin.
fn outset(application: Application, group: &str) -> String {
    let naga = application == Application::Naga0518;
    let (creator, created_by) = if naga {
        (", created_by", ", 'x@x.org'")
    } else {
        ("", "")
    };
    let control = format!("'{{\"read\": {{\"group_ids\": [\"{group}\"], \"user_ids\": []}}}}'");
    let (acl, granted) = if application == Application::OpenWebUi012 {
        (String::new(), String::new())
    } else {
        (", access_control".to_owned(), format!(", {control}"))
    };
    let mut sql = format!(
        "INSERT INTO function (id, user_id{creator}, name, type, content, meta, valves, is_active, is_global, created_at, updated_at)
           VALUES ('f', 'u50'{created_by}, 'F', 'pipe', '', '{{}}', '{{}}', true, false, 1, 1), ('g', 'u50'{created_by}, 'G', 'filter', '', '{{}}', '{{}}', true, false, 1, 1);
         INSERT INTO model (id, user_id{creator}, name, params, meta, is_active, created_at, updated_at{acl})
           VALUES ('f', 'u50'{created_by}, 'M', '{{}}', '{{}}', true, 1, 1{granted})"
    );
    if application == Application::OpenWebUi012 {
        sql += &format!(
            "; INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
               VALUES ('1', 'model', 'f', 'group', '{group}', 'read', 1)"
        );
    }
    sql
}

async fn check(sidecar: &Sidecar, subject: &str, action: &str, kind: &str, id: &str) -> Result<Value> {
    let question = json!({ "subject": subject, "action": action, "resource": { "type": kind, "id": id } });
    let answer = trusted(sidecar).post("/v1/access/check", &question).await?;
    ensure!(answer.status == 200, "{question}: {}", answer.text());
    let body = answer.json()?;
    ensure!(
        body["position"].as_str() == answer.header("neverstale-position"),
        "{body}"
    );
    Ok(body)
}

/// Asks all sidecars; all must say so.
async fn expect(house: &House, subject: &str, action: &str, tier: Option<&str>) -> Result<()> {
    for sidecar in &house.sidecars {
        let body = check(sidecar, subject, action, "function", "f").await?;
        ensure!(
            body["allowed"] == tier.is_some() && body["tier"].as_str() == tier,
            "{subject} {action}, expected {tier:?}: {body}"
        );
    }
    Ok(())
}

async fn command(house: &House, words: &[&str]) -> Result<String> {
    let output = run(words, &[("DATABASE_URL", house.database.url())]).await?;
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
async fn an_admins_function_is_for_the_admin_and_whom_it_is_granted_to() -> Result<()> {
    for application in Application::ALL {
        story(application).await.with_context(|| application.name())?;
    }
    Ok(())
}

async fn story(application: Application) -> Result<()> {
    let house = Plan::of(application)
        .with("NEVERSTALE_API__WRITES_ALLOWED", true)
        .open()
        .await?;
    let groups = async |user: &str| {
        let answer = house.sidecars[0]
            .get(&format!("/v1/users/{user}/groups"))
            .await?
            .json()?;
        let ids = answer
            .as_array()
            .context("groups")?
            .iter()
            .filter_map(|group| group["id"].as_str());
        anyhow::Ok(ids.map(str::to_owned).collect::<Vec<_>>())
    };
    let group = groups("u2").await?.pop().context("a group of u2")?;
    let mut outsider = String::new();
    for n in 3..19 {
        if !groups(&format!("u{n}")).await?.contains(&group) {
            outsider = format!("u{n}");
            break;
        }
    }
    house.write("INSERT INTO \"user\" SELECT (json_populate_record(u, '{\"id\": \"b\", \"email\": \"b@x.org\", \"api_key\": null}')).* FROM \"user\" AS u WHERE u.id = 'u50'").await?;
    house.write(&outset(application, &group)).await?;

    // Before anything is granted: the owner, and the super admin.
    expect(&house, "u50", "execute", Some("owner")).await?;
    expect(&house, "u1", "read-valves", Some("super-admin")).await?;
    for (subject, action) in [("b", "read"), ("b", "execute"), ("u2", "execute"), ("nobody", "read")] {
        expect(&house, subject, action, None).await?;
    }

    // What the model implies becomes a grant, once; printing changes nothing.
    let printed = command(&house, &["rbac", "install", "--print-sql"]).await?;
    ensure!(printed.contains("INSERT INTO neverstale.access_overlay"), "{printed}");
    expect(&house, "u2", "execute", None).await?;
    ensure!(command(&house, &["rbac", "install"]).await?.starts_with("2 functions"));
    ensure!(command(&house, &["rbac", "install"]).await?.starts_with("0 functions"));
    command(&house, &["rbac", "verify"]).await?;
    expect(&house, "u2", "execute", Some("group")).await?;
    for (subject, action) in [
        ("u2", "write"),
        ("u2", "read-valves"),
        ("b", "execute"),
        (&outsider, "execute"),
    ] {
        expect(&house, subject, action, None).await?;
    }

    // By command.
    command(&house, &["access", "grant", "function", "f", "--user", &outsider]).await?;
    expect(&house, &outsider, "execute", Some("direct")).await?;
    let who = command(&house, &["access", "who-can", "execute", "function", "f"]).await?;
    ensure!(
        who.contains(&format!("{outsider}\tallowed: direct")) && !who.contains("\nb\t"),
        "{who}"
    );
    let why = command(&house, &["access", "explain", "b", "function", "f"]).await?;
    ensure!(why.matches("denied").count() == 4, "{why}");
    let shown: Value = serde_json::from_str(&command(&house, &["access", "show", "function", "f"]).await?)?;
    ensure!(shown["owner"] == "u50" && shown["version"] == 2, "{shown}");
    command(&house, &["access", "revoke", "function", "f", "--user", &outsider]).await?;
    expect(&house, &outsider, "execute", None).await?;
    ensure!(
        command(&house, &["access", "grant", "model", "f", "--everybody"])
            .await
            .is_err()
    );
    ensure!(
        command(&house, &["access", "grant", "function", "f", "--user", "no such"])
            .await
            .is_err()
    );

    // By PATCH, if nobody was faster.
    let mut client = trusted(&house.sidecars[0]);
    let place = "/v1/access/grants/function/f";
    let before = client.get(&format!("{place}/read.group_ids")).await?;
    ensure!(before.json()?["value"] == json!([group]), "{}", before.text());
    let etag = before.header("etag").context("an ETag")?.to_owned();
    let body = json!({ "path": "read.group_ids", "value": [] }).to_string();
    let patched = client
        .send("PATCH", place, &[("if-match", &etag)], body.as_bytes())
        .await?;
    ensure!(patched.status == 200, "{}", patched.text());
    expect(&house, "u2", "execute", None).await?;
    let late = client
        .send("PATCH", place, &[("if-match", &etag)], body.as_bytes())
        .await?;
    ensure!(late.status == 412, "{}", late.text());

    versions(house.sidecars[0].api_by_socket(), &house, place).await?;

    // By plain SQL; and everything taken away at once.
    house.write("UPDATE neverstale.access_overlay SET access_control = '{\"write\": {\"user_ids\": [\"b\"]}}' WHERE resource_id = 'f'").await?;
    expect(&house, "b", "write", Some("direct")).await?;
    command(&house, &["rbac", "uninstall"]).await?;
    expect(&house, "b", "write", None).await?;
    expect(&house, "u50", "write", Some("owner")).await
}

/// Whoever names a version changes nothing that somebody has changed since, over HTTP and by command; nor does he with nothing there.
async fn versions(mut client: Client, house: &House, place: &str) -> Result<()> {
    let mut patch = async |place: &str, path: &str, version: Value| {
        let body = json!({ "path": path, "value": ["u2"], "version": version }).to_string();
        client.send("PATCH", place, &[], body.as_bytes()).await
    };
    let shown: Value = serde_json::from_str(&command(house, &["access", "show", "function", "f"]).await?)?;
    let version = shown["version"].as_i64().context("a version")?;
    let right = patch(place, "read.user_ids", json!(version)).await?;
    ensure!(
        right.status == 200 && right.json()?["version"] == version + 1,
        "{}",
        right.text()
    );
    // Of another part of the same grants: it is one version for all of them.
    let late = patch(place, "write.user_ids", json!(version)).await?;
    ensure!(
        late.status == 412 && late.json()?["version"] == version + 1,
        "{}",
        late.text()
    );
    let none = "/v1/access/grants/pipeline/0:new";
    let late = patch(none, "read.user_ids", json!(7)).await?;
    ensure!(late.status == 412 && late.json()?["version"] == 0, "{}", late.text());
    ensure!(patch(none, "read.user_ids", json!(0)).await?.json()?["version"] == 1);
    ensure!(patch(none, "read.user_ids", json!(0)).await?.json()?["version"] == 1);
    ensure!(patch("/v1/config", "ui.x", json!(1)).await?.status == 400);

    let revoke = |version: String| async move {
        command(
            house,
            &[
                "access",
                "revoke",
                "function",
                "f",
                "--user",
                "u2",
                "--version",
                &version,
            ],
        )
        .await
    };
    let late = revoke(version.to_string()).await;
    ensure!(late.is_err_and(|error| format!("{error:#}").contains(&format!("at version {}", version + 1))));
    revoke((version + 1).to_string()).await?;
    Ok(())
}

/// Without the version, each would take what the others have given.
#[tokio::test]
async fn of_writers_with_one_version_one_wins() -> Result<()> {
    const WRITERS: usize = 12;
    const ROUNDS: usize = 8;
    let house = Plan::of(Application::OpenWebUi012)
        .with("NEVERSTALE_API__WRITES_ALLOWED", true)
        .open()
        .await?;
    let place = "/v1/access/grants/pipeline/0:p";
    for round in 0..ROUNDS {
        let path = ["read.user_ids", "write.group_ids"][round % 2];
        let writers = (0..WRITERS).map(|writer| {
            let mut client = trusted(&house.sidecars[writer % house.sidecars.len()]);
            let body = json!({ "path": path, "value": [format!("w{writer}")], "version": round }).to_string();
            async move { client.send("PATCH", place, &[], body.as_bytes()).await }
        });
        let answers = futures_util::future::try_join_all(writers).await?;
        let (won, lost): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        ensure!(won.len() == 1, "round {round}: {answers:?}");
        let is_told = |answer: &&Answer| answer.json().is_ok_and(|body| body["version"] == round + 1);
        ensure!(
            lost.iter().all(|answer| answer.status == 412 && is_told(answer)),
            "round {round}: {answers:?}"
        );
        ensure!(is_told(&won[0]), "round {round}: {}", won[0].text());
        for sidecar in &house.sidecars {
            let read = trusted(sidecar).get(&format!("{place}/{path}")).await?;
            ensure!(read.json()? == won[0].json()?, "round {round}: {}", read.text());
        }
    }
    Ok(())
}

#[tokio::test]
async fn lists_batches_and_explanations_are_of_one_state() -> Result<()> {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await?;
    house
        .write(
            "INSERT INTO model (id, user_id, name, params, meta, is_active) SELECT 'm' || lpad(n::text, 2, '0'), 'u2', 'M', '{}', '{}', true FROM generate_series(1, 9) n;
             INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
             SELECT 'a' || n, 'model', 'm0' || n, 'user', 'u3', 'read', 1 FROM generate_series(1, 7) n",
        )
        .await?;
    let sidecar = &house.sidecars[0];
    let mut ids: Vec<Value> = Vec::new();
    let mut after = String::new();
    for _ in 0..4 {
        let path = format!("/v1/access/list?subject=u3&type=model&action=execute&limit=3&after={after}");
        let page = sidecar.get(&path).await?.json()?;
        ids.extend(page["ids"].as_array().context("ids")?.clone());
        let Some(next) = page["next"].as_str() else { break };
        after = next.to_owned();
    }
    ensure!(
        ids == (1..=7).map(|n| json!(format!("m0{n}"))).collect::<Vec<_>>(),
        "{ids:?}"
    );
    let check = |subject: &str, id: &str| json!({ "subject": subject, "action": "execute", "resource": { "type": "model", "id": id } });
    let batch = json!({ "checks": [check("u2", "m09"), check("u3", "m09"), check("u3", "m07"), check("u1", "none")] });
    let decided = trusted(sidecar).post("/v1/access/batch-check", &batch).await?.json()?;
    let tiers: Vec<&Value> = decided["decisions"]
        .as_array()
        .context("decisions")?
        .iter()
        .map(|one| &one["tier"])
        .collect();
    ensure!(
        tiers == [&json!("owner"), &Value::Null, &json!("direct"), &json!("super-admin")],
        "{decided}"
    );
    let why = sidecar
        .get("/v1/access/explain?subject=u3&type=model&id=m09")
        .await?
        .json()?;
    ensure!(
        why["decisions"]["execute"]["looked_for"]
            .as_str()
            .is_some_and(|text| text.contains("grant")),
        "{why}"
    );
    Ok(())
}

/// An installation of an earlier version has no table of grants; or somebody has dropped it.
#[tokio::test]
async fn without_the_table_of_grants_everything_else_goes_on_and_nothing_is_allowed_by_it() -> Result<()> {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await?;
    house.write(&outset(Application::OpenWebUi012, "g1")).await?;
    house
        .write("INSERT INTO tool (id, user_id, name, content, specs, meta) VALUES ('t', 'u2', 'T', '', '[]', '{}')")
        .await?;
    expect(&house, "u50", "execute", Some("owner")).await?;
    house.write("DROP TABLE neverstale.access_overlay").await?;
    let sidecar = &house.sidecars[0];
    until("a tool is decided about again", PATIENCE, async || {
        Ok(check(sidecar, "u2", "write", "tool", "t").await?["tier"] == "owner")
    })
    .await?;
    let question = json!({ "subject": "u50", "action": "execute", "resource": { "type": "function", "id": "f" } });
    problem(&trusted(sidecar).post("/v1/access/check", &question).await?, 503)?;
    ensure!(command(&house, &["rbac", "install"]).await.is_err());
    command(&house, &["install"]).await?;
    until("a function is decided about again", PATIENCE, async || {
        Ok(check(sidecar, "u50", "execute", "function", "f").await?["tier"] == "owner")
    })
    .await?;
    command(&house, &["verify"]).await?;
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_question_that_is_none_is_a_problem() -> Result<()> {
    let house = Plan::of(Application::OpenWebUi012).sidecars(1).open().await?;
    let sidecar = &house.sidecars[0];
    for path in [
        "/v1/access/list?subject=u3&type=model",
        "/v1/access/list?subject=u3&type=models&action=read",
        "/v1/access/list?subject=u3&type=model&action=read&limit=0",
        "/v1/access/list?subject=u3&subject=u4&type=model&action=read",
        "/v1/access/list?subject=&type=model&action=read",
        "/v1/access/explain?subject=u3&type=model&id=%FF",
        "/v1/access/explain?subject=u3&type=model&id=m&more=1",
    ] {
        problem(&sidecar.get(path).await?, 400)?;
    }
    problem(&sidecar.get("/v1/access/check").await?, 405)?;
    let long = "x".repeat(257);
    for body in [
        json!({}),
        json!({ "subject": "u1", "action": "fly", "resource": { "type": "tool", "id": "t" } }),
        json!({ "subject": "u1", "action": "read", "resource": { "type": "tool", "id": long } }),
        json!({ "subject": "", "action": "read", "resource": { "type": "tool", "id": "t" } }),
        json!({ "subject": "u\0", "action": "read", "resource": { "type": "tool", "id": "t" } }),
    ] {
        problem(&trusted(sidecar).post("/v1/access/check", &body).await?, 400)?;
    }
    problem(
        &trusted(sidecar)
            .post("/v1/access/batch-check", &json!({ "checks": [] }))
            .await?,
        400,
    )
}

fn problem(answer: &Answer, status: u16) -> Result<()> {
    ensure!(
        answer.status == status && answer.header("content-type") == Some("application/problem+json"),
        "not a {status}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(())
}
