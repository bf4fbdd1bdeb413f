//! A large house: 10,000 users, 500 groups, 5,000 resources. What is decided there is right, and decided from memory.
//!
//! How fast is told, not judged: a test knows nothing of its machine. `cargo test --release -p neverstale-rbac --test it scale --
//! --nocapture` shows it.

use std::time::Instant;

use fastrand::Rng;
use neverstale_cache::{Level, Source};
use neverstale_rbac::{Action, People, ResourceRef, ResourceType};
use neverstale_testkit::Application;

use crate::house::{House, deadline};

const WORLD: &str = "
    INSERT INTO \"user\" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
      SELECT 'u' || n, 'N', 'u' || n || '@x.org', CASE WHEN n % 100 = 1 THEN 'admin' ELSE 'user' END, '', n, 1, 1 FROM generate_series(1, 10000) n;
    INSERT INTO \"group\" (id, user_id, name, description, created_at, updated_at, parent_group_id)
      SELECT 'g' || n, 'u1', 'G', '', 1, 1, CASE WHEN n > 50 THEN 'g' || n / 10 END FROM generate_series(1, 500) n;
    INSERT INTO group_member (id, group_id, user_id)
      SELECT n || '-' || k, 'g' || (n * 7 + k * 31) % 500 + 1, 'u' || n FROM generate_series(1, 10000) n, generate_series(1, 5) k;
    INSERT INTO tool (id, user_id, name, content, specs, meta, created_at, updated_at)
      SELECT 't' || n, 'u' || n % 100 * 100 + 1, 'T', '', '[]', '{}', 1, 1 FROM generate_series(1, 5000) n;
    INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
      SELECT n || '-' || k, 'tool', 't' || n, 'group', 'g' || (n * 13 + k * 101) % 500 + 1, 'read', 1 FROM generate_series(1, 5000) n, generate_series(1, 4) k;";

/// What SQL says, for users who are no admins: their own, and what their groups or the parents of these are granted.
const RIGHT: &str = "
    WITH RECURSIVE member (id) AS (
      SELECT group_id FROM group_member WHERE user_id = $1
      UNION SELECT g.parent_group_id FROM member JOIN \"group\" AS g ON g.id = member.id WHERE g.parent_group_id IS NOT NULL)
    SELECT DISTINCT t.id FROM tool AS t LEFT JOIN access_grant AS a ON a.resource_type = 'tool' AND a.resource_id = t.id
    WHERE t.user_id = $1 OR a.principal_id IN (SELECT id FROM member) AND a.permission = 'read' ORDER BY 1";

/// What SQL says of the people who may use a tool.
const RIGHT_PEOPLE: &str = "
    WITH RECURSIVE member (user_id, id) AS (
      SELECT user_id, group_id FROM group_member
      UNION SELECT member.user_id, g.parent_group_id FROM member JOIN \"group\" AS g ON g.id = member.id WHERE g.parent_group_id IS NOT NULL)
    SELECT count(*) FROM \"user\" AS u WHERE u.role = 'admin' OR EXISTS (SELECT FROM tool AS t WHERE t.id = $1 AND t.user_id = u.id)
      OR EXISTS (SELECT FROM member JOIN access_grant AS a ON a.principal_id = member.id WHERE member.user_id = u.id AND a.resource_type = 'tool' AND a.resource_id = $1)";

#[tokio::test(flavor = "multi_thread")]
async fn a_large_house_is_decided_rightly_and_from_memory() {
    let house = House::of(Application::OpenWebUi012, 200).await;
    house.write(WORLD).await;
    let pod = house.pod().await;
    let mut dice = Rng::with_seed(7);
    let users: Vec<String> = (0..200).map(|_| format!("u{}", 2 + dice.usize(..99))).collect();
    let visible = |user| {
        let (action, kind) = (Action::Execute, ResourceType::Tool);
        pod.decider
            .visible(user, action, kind, Level::FullyConsistent, deadline())
    };
    for user in &users[..10] {
        let mut given = visible(user).await.unwrap().ids;
        given.sort_unstable();
        let rows = house.admin.query(RIGHT, &[user]).await.unwrap();
        let mut right: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        right.sort_unstable();
        assert!(
            given == right && right.len() > 50,
            "{user}: {} given, {} right",
            given.len(),
            right.len()
        );
    }
    let tools: Vec<ResourceRef> = (1..200)
        .map(|n| ResourceRef::new(ResourceType::Tool, format!("t{n}")))
        .collect();
    let mut took = Vec::new();
    for warm in [false, true] {
        for _ in 0..5_000 {
            let (user, tool) = (&users[dice.usize(..users.len())], &tools[dice.usize(..tools.len())]);
            let began = Instant::now();
            pod.decider
                .decide(user, Action::Execute, tool, Level::FullyConsistent, deadline())
                .await
                .unwrap();
            if warm {
                took.push(began.elapsed());
            }
        }
    }
    took.sort_unstable();
    println!(
        "a decision: p50 {:?}, p99 {:?}, p99.9 {:?}",
        took[2_500], took[4_950], took[4_995]
    );
    let began = Instant::now();
    for user in &users {
        visible(user).await.unwrap();
    }
    println!("a list of 5,000: {:?} on average", began.elapsed() / users.len() as u32);
    let all = People::Like("");
    for round in ["first", "second"] {
        let began = Instant::now();
        let verdicts = pod
            .survey
            .verdicts(all, &[Action::Execute], &tools[0], deadline())
            .await
            .unwrap();
        let allowed = verdicts
            .decisions
            .iter()
            .filter(|decisions| decisions[0].allowed)
            .count();
        println!(
            "who can, over 10,000 users, the {round} time: {allowed} people in {:?}",
            began.elapsed()
        );
        let row = house.admin.query_one(RIGHT_PEOPLE, &[&tools[0].id]).await.unwrap();
        assert_eq!(allowed as i64, row.get::<_, i64>(0));
    }
    let began = Instant::now();
    let holdings = pod
        .survey
        .holdings(&users[0], ResourceType::Tool, deadline())
        .await
        .unwrap();
    println!("all of 5,000 for one user: {:?}", began.elapsed());
    assert_eq!(holdings.held.len(), 5_000);
    let began = Instant::now();
    let found = pod
        .survey
        .people(People::Like("u77"), None, 20, deadline())
        .await
        .unwrap();
    println!("a search among 10,000: {:?}", began.elapsed());
    assert_eq!(found.roster.people().len(), 20);
    // Once warm, nothing is asked of Postgres but leases.
    let read = pod.router.route("/v1/views/access-tool/t1").unwrap();
    let answer = pod.cache.read(&read, Level::FullyConsistent, deadline()).await.unwrap();
    assert_eq!(answer.source, Source::L1);
}
