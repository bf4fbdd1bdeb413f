//! The endpoints under `/access`.

use std::time::Duration;

use anyhow::{Result, ensure};
use neverstale_testkit::{Application, Client, Scratch, run};
use serde_json::{Value, json};

use super::{HERE, PAGE, ask, company, plan, told};
use crate::house::{Plan, until};

const PATIENCE: Duration = Duration::from_secs(20);

fn ids<'v>(rows: &'v Value, name: &str) -> Vec<&'v str> {
    let rows = rows.as_array().unwrap().iter();
    rows.map(|row| if name.is_empty() { &row["id"] } else { &row[name]["id"] })
        .map(|id| id.as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn people_and_resources_are_searched_by_the_server_and_come_in_pages() -> Result<()> {
    let house = company(plan()).await?;
    let first = told(&house, "/access/people").await?;
    ensure!(
        first["people"].as_array().unwrap().len() == 20 && first["total"] == 126,
        "{first}"
    );
    let after = first["next"].to_string().replace('"', "%22").replace(' ', "%20");
    let second = told(&house, &format!("/access/people?after={after}")).await?;
    ensure!(ids(&second["people"], "").len() == 20 && ids(&first["people"], "")[19] != ids(&second["people"], "")[0]);
    for (search, found) in [
        ("LINDQ", "bea"),
        ("carl@", "carl"),
        ("eve", "eve"),
        ("%3Cscript", "mal"),
    ] {
        let people = told(&house, &format!("/access/people?search={search}")).await?;
        ensure!(
            ids(&people["people"], "") == [found] && people["next"].is_null(),
            "{search}: {people}"
        );
    }
    // Nothing of it is kept.
    let status = house.sidecars[0].admin().get("/status").await?.json()?;
    ensure!(status["l1"]["entries"] == 0, "{status}");
    // A search is a text, never a pattern.
    let pattern = told(&house, "/access/people?search=%25").await?;
    ensure!(pattern["people"] == json!([]), "{pattern}");

    let models = told(&house, "/access/resources?type=model&search=team").await?;
    ensure!(
        models["matching"] == 60 && models["pages"] == 3 && models["total"] == 64,
        "{models}"
    );
    let handbook = told(&house, "/access/resources?type=knowledge&search=HANDB").await?;
    ensure!(handbook["resources"][0]["name"] == "Handbook", "{handbook}");
    let functions = told(&house, "/access/resources?type=function").await?;
    ensure!(
        ids(&functions["resources"], "") == ["export_action", "gemini_pipe", "pii_filter", "old_pipe"],
        "{functions}"
    );
    Ok(())
}

#[tokio::test]
async fn what_somebody_can_do_is_told_with_the_reason_for_each() -> Result<()> {
    let house = company(plan()).await?;
    let carl = told(&house, "/access/person?id=carl&type=function").await?;
    ensure!(carl["person"]["name"] == "Carl Nowak" && carl["total"] == 4, "{carl}");
    let ways: Vec<&Value> = carl["person"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["way"])
        .collect();
    ensure!(
        ways == [
            &json!(["Platform", "Engineering", "Acme"]),
            &json!(["Platform", "Engineering"]),
            &json!(["Platform"])
        ],
        "{ways:?}"
    );
    ensure!(ids(&carl["rows"], "") == ["export_action", "gemini_pipe"], "{carl}");
    ensure!(
        carl["counts"] == json!({"read": 2, "execute": 2, "write": 1, "read-valves": 0}),
        "{carl}"
    );
    let execute = &carl["rows"][1]["decisions"]["execute"];
    ensure!(
        execute["tier"] == "group"
            && execute["way"] == json!(["Platform", "Engineering"])
            && execute["because"]
                == "is in the group Platform, and so in Engineering above it, which has a grant to see and to use it",
        "{execute}"
    );
    let all = told(&house, "/access/person?id=carl&type=function&show=all&search=pipe").await?;
    ensure!(
        ids(&all["rows"], "") == ["gemini_pipe", "old_pipe"] && all["matching"] == 2,
        "{all}"
    );
    let pages = told(&house, "/access/person?id=bea&type=model&page=2").await?;
    ensure!(
        pages["pages"] == 2 && pages["rows"].as_array().unwrap().len() == 14,
        "{pages}"
    );
    let nobody = told(&house, "/access/person?id=gone&type=model").await?;
    ensure!(nobody["person"].is_null() && nobody["matching"] == 0, "{nobody}");
    Ok(())
}

#[tokio::test]
async fn who_can_is_told_with_the_way_through_the_groups() -> Result<()> {
    let house = company(plan()).await?;
    let who = told(&house, "/access/resource?type=function&id=gemini_pipe&action=execute").await?;
    // 60 of the 120 are in Engineering or Platform; and Carl, the owner, and the super admin.
    ensure!(
        who["matching"] == 63 && who["people_total"] == 126 && who["pages"] == 2,
        "{who}"
    );
    ensure!(
        who["rows"].as_array().unwrap().len() == 50 && who["resource"]["owner"]["name"] == "Bea Lindqvist",
        "{who}"
    );
    ensure!(who["resource"]["grants"][0]["name"] == "Engineering", "{who}");
    let found = told(
        &house,
        "/access/resource?type=function&id=gemini_pipe&action=execute&search=carl",
    )
    .await?;
    ensure!(
        ids(&found["rows"], "person") == ["carl"] && found["matching"] == 1,
        "{found}"
    );
    let write = told(&house, "/access/resource?type=function&id=gemini_pipe&action=write").await?;
    ensure!(ids(&write["rows"], "person") == ["u1", "bea", "carl"], "{write}");
    // What nobody was granted is private in this version, and said to be.
    let private = told(&house, "/access/resource?type=tool&id=sql_runner&action=read").await?;
    ensure!(
        private["resource"]["grants"] == json!([]) && private["resource"]["open"] == false,
        "{private}"
    );
    // Of very many grants the first are told, and of the others the number.
    let grants = r#"UPDATE neverstale.access_overlay SET access_control = jsonb_build_object('read', jsonb_build_object('user_ids',
        (SELECT jsonb_agg('p' || lpad((n % 120)::text, 3, '0')) FROM generate_series(0, 249) AS n))) WHERE resource_id = 'export_action'"#;
    house.write(grants).await?;
    let many = told(&house, "/access/resource?type=function&id=export_action&action=read").await?;
    ensure!(
        many["resource"]["grants"].as_array().unwrap().len() == 200
            && many["resource"]["grants_more"] == 50
            && many["resource"]["grants"][199]["name"] == "Jan Hansen"
            && many["matching"] == 122,
        "{many}"
    );
    let none = told(&house, "/access/resource?type=tool&id=nothing&action=read").await?;
    ensure!(
        none["resource"]["exists"] == false && ids(&none["rows"], "person") == ["u1"],
        "{none}"
    );
    Ok(())
}

#[tokio::test]
async fn the_advice_for_a_refusal_is_a_command_that_allows_it() -> Result<()> {
    let house = company(plan()).await?;
    let path = "/access/why?subject=dee&type=function&id=gemini_pipe&action=write";
    let why = told(&house, path).await?;
    let looked_for = why["decision"]["looked_for"].as_str().unwrap();
    ensure!(
        why["decision"]["allowed"] == false && looked_for.contains("a grant to write"),
        "{why}"
    );
    let command = why["advice"]["command"].as_str().unwrap().to_owned();
    ensure!(
        command == "neverstale access grant --user=dee --write function gemini_pipe",
        "{command}"
    );
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    run(&words, &[("DATABASE_URL", house.database.url())]).await?;
    let why = told(&house, path).await?;
    ensure!(
        why["decision"]["tier"] == "direct" && why["decision"]["because"] == "has a grant to change it",
        "{why}"
    );
    // And the one for what is allowed takes it away.
    let command = why["advice"]["command"].as_str().unwrap().to_owned();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    run(&words, &[("DATABASE_URL", house.database.url())]).await?;
    ensure!(told(&house, path).await?["decision"]["allowed"] == false);
    for (question, because) in [
        (
            "subject=eve&type=function&id=gemini_pipe&action=read",
            "has the role “pending”, which may do nothing at all",
        ),
        (
            "subject=u1&type=function&id=old_pipe&action=execute",
            "may not: it is switched off, for everybody",
        ),
        (
            "subject=dee&type=tool&id=tickets&action=read",
            "is in the group Sales Berlin, and so in Acme above it, which has a grant to see and to use it",
        ),
        (
            "subject=bea&type=tool&id=sql_runner&action=write",
            "is an admin, and the application lets every admin do this",
        ),
        ("subject=carl&type=model&id=contracts&action=execute", "owns it"),
        (
            "subject=gone&type=tool&id=tickets&action=read",
            "is no user of this application",
        ),
        (
            "subject=p000&type=pipeline&id=0:translate&action=execute",
            "is somebody, and everybody has a grant to see and to use it",
        ),
    ] {
        let why = told(&house, &format!("/access/why?{question}")).await?;
        ensure!(why["decision"]["because"] == because, "{question}: {why}");
    }
    Ok(())
}

/// The very next question after a commit is answered by it, whoever wrote it.
#[tokio::test]
async fn what_was_just_written_is_told() -> Result<()> {
    let house = company(plan()).await?;
    for round in 0..20 {
        let is_member = round % 2 == 1;
        house
            .write(if is_member {
                "INSERT INTO group_member (id, group_id, user_id) VALUES ('m1', 'platform', 'carl')"
            } else {
                "DELETE FROM group_member WHERE id = 'm1'"
            })
            .await?;
        let why = told(
            &house,
            "/access/why?subject=carl&type=function&id=gemini_pipe&action=execute",
        )
        .await?;
        ensure!(why["decision"]["allowed"] == is_member, "{why}");
        let who = told(
            &house,
            "/access/resource?type=function&id=gemini_pipe&action=execute&search=carl",
        )
        .await?;
        ensure!(who["matching"] == u8::from(is_member), "{who}");
        let carl = told(&house, "/access/person?id=carl&type=function").await?;
        ensure!(carl["counts"]["execute"] == 1 + u8::from(is_member), "{carl}");
    }
    Ok(())
}

#[tokio::test]
async fn a_question_that_is_none_is_a_problem_and_nothing_is_kept_by_a_browser() -> Result<()> {
    let house = company(plan()).await?;
    for path in [
        "/access/people?limit=3",
        "/access/people?search=%00",
        "/access/resources?type=secrets",
        "/access/person?id=&type=tool",
        "/access/person?id=carl&type=tool&page=0",
        "/access/resource?type=tool&id=t&action=fly",
        "/access/why?subject=carl&type=tool&id=t",
    ] {
        let answer = ask(&house, path).await?;
        ensure!(
            answer.status == 400 && answer.header("content-type") == Some("application/problem+json"),
            "{path}: {}",
            answer.text()
        );
    }
    let mut admin = house.sidecars[0].admin();
    for path in ["/access", "/access/people", "/access/why"] {
        ensure!(admin.send("POST", path, &[], &[]).await?.status == 405, "{path}");
        ensure!(
            admin.get(path).await?.header("cache-control") == Some("no-store"),
            "{path}"
        );
    }
    ensure!(admin.get("/access/other").await?.status == 404);
    // Not by the contract of the application's side either.
    for path in ["/v1/views/access-names/tool", "/v1/views/access-roster/x"] {
        ensure!(house.sidecars[0].get(path).await?.status == 404, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn names_are_for_loopback_or_for_a_token_and_for_nobody_where_it_is_switched_off() -> Result<()> {
    let scratch = Scratch::new()?;
    let file = scratch.path().join("tokens");
    std::fs::write(&file, "right\n")?;
    let path = "/access/people?search=carl";
    let open = company(plan()).await?;
    let mut admin = open.sidecars[0].admin();
    ensure!(admin.get_with(path, &[HERE, PAGE]).await?.status == 200);
    for elsewhere in [
        &[("host", "evil.example"), PAGE][..],
        &[HERE, PAGE, ("x-forwarded-for", "10.0.0.7")],
    ] {
        ensure!(admin.get_with(path, elsewhere).await?.status == 403, "{elsewhere:?}");
    }
    // Whoever is made to fetch an address, by a program in the pod, is told nothing of anybody.
    let fetched = admin.get_with(path, &[HERE]).await?;
    ensure!(
        fetched.status == 403 && fetched.text().contains("Neverstale-Page") && !fetched.text().contains("Nowak"),
        "{}",
        fetched.text()
    );
    let guarded = company(plan().with("NEVERSTALE_ADMIN__TOKEN_FILE", file.display())).await?;
    let mut admin = guarded.sidecars[0].admin();
    let refused = admin.get(path).await?;
    ensure!(refused.status == 401 && refused.header("www-authenticate").is_some() && !refused.text().contains("Nowak"));
    ensure!(admin.get_with(path, &[("authorization", "Bearer wrong")]).await?.status == 401);
    let admitted = admin.get_with(path, &[("authorization", "Bearer right")]).await?;
    ensure!(
        admitted.status == 200 && admitted.text().contains("Nowak"),
        "{}",
        admitted.text()
    );
    // The page itself has nothing of anybody.
    ensure!(admin.get("/access").await?.status == 200);
    let off = company(plan().with("NEVERSTALE_ADMIN__ACCESS_PAGE", false)).await?;
    let mut admin: Client = off.sidecars[0].admin();
    for path in ["/access", path] {
        ensure!(admin.get(path).await?.status == 404, "{path}");
    }
    Ok(())
}

/// Every flavour knows its people, and an installation that is not whole says the next step.
#[tokio::test]
async fn every_flavour_has_its_page_and_what_is_missing_is_named() -> Result<()> {
    for application in Application::ALL {
        let house = Plan::of(application).sidecars(1).open().await?;
        let people = told(&house, "/access/people?search=u2").await?;
        ensure!(
            ids(&people["people"], "").contains(&"u2"),
            "{}: {people}",
            application.name()
        );
        for kind in ["function", "tool", "model", "prompt", "knowledge", "pipeline"] {
            told(&house, &format!("/access/person?id=u2&type={kind}&show=all")).await?;
            let who = told(&house, &format!("/access/resource?type={kind}&id=none&action=read")).await?;
            ensure!(
                ids(&who["rows"], "person").contains(&"u1"),
                "{}: {who}",
                application.name()
            );
        }
        house.write("DROP TABLE neverstale.access_overlay").await?;
        until("what is missing is named", PATIENCE, async || {
            let missing = ask(&house, "/access/person?id=u2&type=function").await?;
            ensure!(missing.status == 503, "{}", missing.text());
            Ok(missing.text().contains("neverstale install"))
        })
        .await?;
    }
    Ok(())
}
