//! What a writer pays: an update of unwatched columns with and without triggers, a watched one by lease, and a large one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use neverstale_testkit::Database;
use tokio_postgres::Client;

use crate::{
    house::House,
    load::one_by_one,
    report::{Limit, Section, Table},
    series::{Series, Unit},
};

/// Rows of the large update; the other measurements use the first thousand of them.
const USERS: u32 = 50_000;
const LEASES_MS: [u32; 3] = [0, 10, 50];

/// What the triggers may cost an update that touches only unwatched columns.
const MOST_NOISE_COST: f64 = 0.03;

/// Updates inside the server, each its own transaction: no client and no network that could hide what a trigger costs.
const NOISE: &str = r#"
CREATE PROCEDURE public.bench_noise(rounds int) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..rounds LOOP
        UPDATE "user" SET last_active_at = last_active_at + 1 WHERE id = 'u' || (i % 1000 + 1);
        COMMIT;
    END LOOP;
END $$"#;

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug)]
enum Durability {
    On,
    Off,
}

impl Durability {
    fn setting(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }

    /// Rounds and their length. A disk's mood changes within seconds, so where it counts rounds are short and many.
    fn rounds(self, house: &House) -> (u32, f64) {
        match self {
            Self::On => (house.pick(24, 8), 0.3),
            Self::Off => (house.pick(32, 8), 0.25),
        }
    }
}

pub(super) async fn measure(house: &House) -> Result<Section> {
    let database = house.database(USERS, 0).await?;
    let client = database.connect().await?;
    client.batch_execute(NOISE).await?;
    let mut section = Section::new("What the triggers cost a writer");
    section.note(
        "`neverstale suspend` and `resume` take the triggers off and put them back between rounds, on the same table.",
    );
    noise(house, &database, &client, Durability::Off, &mut section).await?;
    noise(house, &database, &client, Durability::On, &mut section).await?;
    watched(house, &database, &client, &mut section).await?;
    bulk(house, &database, &client, &mut section).await?;
    Ok(section)
}

async fn noise(
    house: &House,
    database: &Database,
    client: &Client,
    durability: Durability,
    section: &mut Section,
) -> Result<()> {
    let (durable, (rounds, seconds)) = (durability.setting(), durability.rounds(house));
    client
        .batch_execute(&format!("SET synchronous_commit = {durable}"))
        .await?;
    // A first run warms the table and says how many updates take about as long as a round should.
    let probe = 50;
    let once = rate(client, probe).await?;
    let updates = (rate(client, ((once * 0.2) as u32).max(probe)).await? * seconds) as u32;
    let (mut none, mut again, mut triggers) = (Series::default(), Series::default(), Series::default());
    for _ in 0..rounds {
        house.neverstale(database, &["suspend"]).await?;
        none.push(fresh_rate(client, updates).await?);
        house.neverstale(database, &["resume"]).await?;
        triggers.push(fresh_rate(client, updates).await?);
        house.neverstale(database, &["suspend"]).await?;
        again.push(fresh_rate(client, updates).await?);
        house.neverstale(database, &["resume"]).await?;
    }
    let between = none.with(&again, f64::midpoint);
    section.note(format!(
        "`last_active_at` of one user after the other, each its own transaction inside the server (a procedure that commits), so that no \
         client hides\nthe cost; `synchronous_commit = {durable}`, {updates} updates a round, {} rounds of none, triggers, none. The table is \
         vacuumed before each.\nA cost is 1 − rate with triggers ÷ mean of the two rates around it; the two against each other show what the \
         machine does by itself.",
        none.rounds(),
    ));
    let title = format!("noise updates, synchronous_commit = {durable}");
    let table = Table::new(&title, Unit::PerSecond, "no triggers", &none)
        .line("triggers", &triggers)
        .line("no triggers again", &again);
    section.table(table);
    let cost = triggers.with(&between, |with, without| 1.0 - with / without);
    let name = format!("cost of the triggers to a noise update, synchronous_commit = {durable}");
    section.goal(&name, Unit::Percent, &cost, Limit::AtMost(MOST_NOISE_COST));
    // A median that chance alone could have moved across the limit judges the machine and not the triggers.
    let by_chance = 2.0 * cost.uncertainty();
    if by_chance > MOST_NOISE_COST {
        section.undecided(format!(
            "undecided: the machine's own mood makes ± {}",
            Unit::Percent.show(by_chance)
        ));
    }
    Ok(())
}

async fn fresh_rate(client: &Client, updates: u32) -> Result<f64> {
    client.batch_execute(r#"VACUUM "user""#).await?;
    rate(client, updates).await
}

async fn rate(client: &Client, updates: u32) -> Result<f64> {
    let since = Instant::now();
    client
        .batch_execute(&format!("CALL public.bench_noise({updates})"))
        .await?;
    Ok(f64::from(updates) / since.elapsed().as_secs_f64())
}

async fn watched(house: &House, database: &Database, client: &Client, section: &mut Section) -> Result<()> {
    client.batch_execute("SET synchronous_commit = on").await?;
    let update = client
        .prepare(r#"UPDATE "user" SET role = 'r' || $1::text WHERE id = 'u' || $2::text"#)
        .await?;
    let count = house.pick(60, 20);
    let mut number = 0_u32;
    let mut change = async || {
        one_by_one(count, async |n| {
            number += 1;
            client
                .execute(&update, &[&number.to_string(), &(n % 1_000 + 1).to_string()])
                .await?;
            Ok(())
        })
        .await
    };
    let mut bare = Series::default();
    let mut leased: [Series; 3] = Default::default();
    for _ in 0..house.pick(5, 2) {
        house.neverstale(database, &["suspend"]).await?;
        bare.push(change().await?.p50);
        house.neverstale(database, &["resume"]).await?;
        for (lease_ms, series) in LEASES_MS.into_iter().zip(&mut leased) {
            house.neverstale(database, &["lease", &lease_ms.to_string()]).await?;
            series.push(change().await?.p50);
        }
        house.neverstale(database, &["lease", "0"]).await?;
    }
    section.note(format!(
        "A watched update (`role`) by one client, prepared, autocommitted, `synchronous_commit = on`: p50 of {count} a round, {} rounds. A \
         commit waits\nas long as the lease lasts, and a little more.",
        bare.rounds(),
    ));
    let mut table = Table::new("watched update, p50", Unit::Seconds, "no triggers", &bare);
    for (lease_ms, series) in LEASES_MS.into_iter().zip(&leased) {
        table = table.line(&format!("lease {lease_ms} ms"), series);
    }
    section.table(table);
    Ok(())
}

/// What a large update takes, and what it does to others.
struct Bulk {
    statement: f64,
    commit: f64,
    worst_other: f64,
}

async fn bulk(house: &House, database: &Database, client: &Client, section: &mut Section) -> Result<()> {
    house.neverstale(database, &["lease", "0"]).await?;
    let (mut bare, mut triggers): ([Series; 3], [Series; 3]) = Default::default();
    for _ in 0..house.pick(4, 1) {
        for (has_triggers, series) in [(false, &mut bare), (true, &mut triggers)] {
            house
                .neverstale(database, &[if has_triggers { "resume" } else { "suspend" }])
                .await?;
            client.batch_execute(r#"VACUUM "user""#).await?;
            let seen = one_bulk(database, client).await?;
            for (series, seen) in series.iter_mut().zip([seen.statement, seen.commit, seen.worst_other]) {
                series.push(seen);
            }
        }
    }
    house.neverstale(database, &["resume"]).await?;
    section.note(format!(
        "One transaction that changes the names of all {USERS} users, while another client commits one watched row (a group's name) after \
         the other, lease 0,\n`synchronous_commit = on`, {} rounds. Past 1,000 tags a transaction publishes one tag for the table.",
        bare[0].rounds(),
    ));
    let [statement, commit, worst] = bare;
    section.table(Table::new("the statement", Unit::Seconds, "no triggers", &statement).line("triggers", &triggers[0]));
    section.table(Table::new("its commit", Unit::Seconds, "no triggers", &commit).line("triggers", &triggers[1]));
    section.table(
        Table::new("worst other commit meanwhile", Unit::Seconds, "no triggers", &worst).line("triggers", &triggers[2]),
    );
    Ok(())
}

async fn one_bulk(database: &Database, client: &Client) -> Result<Bulk> {
    let other = database.connect().await?;
    let (done, mut is_done) = tokio::sync::watch::channel(false);
    let meanwhile = async {
        let (mut worst, mut number) = (Duration::ZERO, 0_u32);
        // It begins before the large update and goes on a little after it.
        while !*is_done.borrow_and_update() {
            number += 1;
            let since = Instant::now();
            other
                .execute(
                    r#"UPDATE "group" SET name = 'name ' || $1::text WHERE id = 'g1'"#,
                    &[&number.to_string()],
                )
                .await?;
            worst = worst.max(since.elapsed());
        }
        ensure!(number > 1, "nothing else was committed meanwhile");
        Ok(worst)
    };
    let large = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.batch_execute("BEGIN").await?;
        let since = Instant::now();
        client
            .batch_execute(r#"UPDATE "user" SET name = 'name ' || random()"#)
            .await?;
        let statement = since.elapsed();
        let since = Instant::now();
        client.batch_execute("COMMIT").await?;
        let commit = since.elapsed();
        tokio::time::sleep(Duration::from_millis(20)).await;
        done.send_replace(true);
        anyhow::Ok((statement, commit))
    };
    let ((statement, commit), worst) = tokio::try_join!(large, meanwhile)?;
    Ok(Bulk {
        statement: statement.as_secs_f64(),
        commit: commit.as_secs_f64(),
        worst_other: worst.as_secs_f64(),
    })
}
