//! A PgBouncer in between: in session mode everything works; in transaction mode nothing goes wrong, and doctor says what to do (L11).

use std::time::Duration;

use neverstale_testkit::{Application, PgBouncer, Postgres, Sidecar, command};
use tokio::time::Instant;

use crate::house::{House, Plan, role, until};

async fn behind(pool_mode: &str) -> (House, PgBouncer) {
    let postgres = Postgres::shared().await.unwrap();
    let pooler = PgBouncer::start(postgres.port(), pool_mode).await.unwrap();
    let plan = Plan::of(Application::OpenWebUi012).sidecars(0);
    let mut house = plan.open_on(postgres).await.unwrap();
    house.options.database_url = house.database.url_through(pooler.port());
    (house, pooler)
}

/// The exit code of `doctor` and what it says about poolers, each finding with its next step.
async fn doctor(house: &House) -> (i32, Vec<String>) {
    let mut command = command(&["doctor"]).unwrap();
    command.env("DATABASE_URL", &house.options.database_url);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut findings: Vec<String> = Vec::new();
    for line in text.lines() {
        // A next step stands below its finding.
        match findings.last_mut() {
            Some(finding) if line.starts_with(' ') => finding.push_str(line),
            _ => findings.push(line.to_owned()),
        }
    }
    findings.retain(|finding| finding.contains("pooler."));
    (output.status.code().unwrap(), findings)
}

#[tokio::test]
async fn behind_a_pool_in_session_mode_everything_works() {
    let (mut house, _pooler) = behind("session").await;
    let (code, lines) = doctor(&house).await;
    assert_eq!(code, 0, "{lines:?}");
    assert!(
        lines.len() == 2 && lines.iter().all(|line| line.starts_with("ok")),
        "{lines:?}"
    );
    for _ in 0..2 {
        house.sidecars.push(Sidecar::start(&house.options).await.unwrap());
    }
    for round in 0..10 {
        let next = if round % 2 == 0 { "admin" } else { "user" };
        house.set_role("u2", next).await.unwrap();
        for place in 0..2 {
            assert_eq!(house.role(place, "u2").await.unwrap(), next);
        }
    }
    // The bell goes through it too: positions move without a read.
    let before = house.sidecars[0].metric("neverstale_bells_total").await.unwrap();
    house.set_role("u3", "admin").await.unwrap();
    until("the bell is heard", Duration::from_secs(5), async || {
        Ok(house.sidecars[0].metric("neverstale_bells_total").await? > before)
    })
    .await
    .unwrap();
}

/// L11. No pooler in transaction mode in between. A sidecar needs its own sessions (direct, or pooled per session) for
/// fences, fills and `LISTEN`. A session that lost its settings gives no usable answer: reads fail, they do not go
/// wrong.
#[tokio::test]
async fn behind_a_pool_in_transaction_mode_doctor_says_so_and_no_read_is_old() {
    let (house, _pooler) = behind("transaction").await;
    let (code, lines) = doctor(&house).await;
    assert_eq!(code, 3, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("FAIL") && line.contains("pool_mode = session")),
        "{lines:?}"
    );
    let sidecars = [
        Sidecar::launch(&house.options).unwrap(),
        Sidecar::launch(&house.options).unwrap(),
    ];
    until("they listen", Duration::from_secs(10), async || {
        for sidecar in &sidecars {
            sidecar.get("/v1/users/u2/role").await?;
        }
        Ok(true)
    })
    .await
    .unwrap();
    let began = Instant::now();
    let mut round = 0;
    while began.elapsed() < Duration::from_secs(3) {
        round += 1;
        let next = format!("role-{round}");
        house.set_role("u2", &next).await.unwrap();
        for sidecar in &sidecars {
            let answer = sidecar.get("/v1/users/u2/role").await.unwrap();
            if answer.status == 200 {
                assert_eq!(role(&answer).unwrap(), next);
            } else {
                assert!(
                    [503, 504].contains(&answer.status),
                    "{}: {}",
                    answer.status,
                    answer.text()
                );
            }
        }
    }
}
