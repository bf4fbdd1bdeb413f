//! Revocations by plain SQL, raced: no decision that begins after the commit allows, on whichever sidecar.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use neverstale_cache::Level;
use neverstale_rbac::{Action, Facts, ResourceRef, ResourceType, Subject, decide};
use neverstale_testkit::Application;
use tokio::task::JoinSet;

use crate::house::{House, Pod, deadline};

/// A function of admin a, granted to group g of which u is a member; a tool and a model likewise.
const OUTSET: &str = "
    INSERT INTO \"user\" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at) VALUES
      ('s', 'S', 's@x.org', 'admin', '', 1, 1, 1), ('a', 'A', 'a@x.org', 'admin', '', 2, 1, 1),
      ('b', 'B', 'b@x.org', 'admin', '', 3, 1, 1), ('u', 'U', 'u@x.org', 'user', '', 4, 1, 1);
    INSERT INTO \"group\" (id, user_id, name, description, created_at, updated_at) VALUES ('g', 'a', 'G', '', 1, 1), ('h', 'a', 'H', '', 1, 1);
    INSERT INTO function (id, user_id, name, type, content, meta, valves, is_active, is_global, created_at, updated_at)
      VALUES ('f', 'a', 'F', 'pipe', '', '{}', '{}', true, false, 1, 1);
    INSERT INTO tool (id, user_id, name, content, specs, meta, created_at, updated_at) VALUES ('t', 'a', 'T', '', '[]', '{}', 1, 1);
    INSERT INTO access_overlay (resource_type, resource_id, access_control)
      VALUES ('function', 'f', '{\"read\": {\"group_ids\": [\"g\"], \"user_ids\": []}}');
    INSERT INTO group_member (id, group_id, user_id) VALUES ('1', 'g', 'u');
    INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at)
      VALUES ('1', 'tool', 't', 'user', 'u', 'read', 1);";

/// What is asked, and how it is granted and revoked.
const CHANGES: [(ResourceType, &str, &str, &str); 5] = [
    (
        ResourceType::Function,
        "f",
        "UPDATE access_overlay SET access_control = '{\"read\": {\"group_ids\": [\"g\"]}}', version = version + 1 WHERE resource_id = 'f'",
        "UPDATE access_overlay SET access_control = '{}', version = version + 1 WHERE resource_id = 'f'",
    ),
    (
        ResourceType::Function,
        "f",
        "INSERT INTO group_member (id, group_id, user_id) VALUES ('1', 'g', 'u') ON CONFLICT DO NOTHING",
        "DELETE FROM group_member WHERE user_id = 'u'",
    ),
    (
        ResourceType::Function,
        "f",
        "UPDATE \"user\" SET role = 'user' WHERE id = 'u'",
        "UPDATE \"user\" SET role = 'pending' WHERE id = 'u'",
    ),
    (
        ResourceType::Tool,
        "t",
        "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, created_at) VALUES ('1', 'tool', 't', 'user', 'u', 'read', 1) ON CONFLICT DO NOTHING",
        "DELETE FROM access_grant WHERE id = '1'",
    ),
    (
        ResourceType::Tool,
        "t",
        "UPDATE tool SET user_id = 'u' WHERE id = 't'; UPDATE access_grant SET principal_id = 'x' WHERE id = '1'",
        "UPDATE tool SET user_id = 'a' WHERE id = 't'",
    ),
];

/// P25. A revocation takes effect at its commit. When the writer of a grant, a membership, a role or an owner has been
/// told that the commit is done, every decision that begins after that, on whichever sidecar, is made without what was
/// revoked; it does not matter who wrote, nor how. ([ACCESS.md](ACCESS.md) says how is decided.)
#[tokio::test(flavor = "multi_thread")]
async fn the_very_next_decision_on_every_pod_knows_of_a_revocation() {
    for lease_ms in [0, 20] {
        let house = House::of(Application::OpenWebUi012, lease_ms).await;
        house.write(OUTSET).await;
        let pods = [
            Arc::new(house.pod().await),
            Arc::new(house.pod().await),
            Arc::new(house.pod().await),
        ];
        let race = Arc::new(Race::default());
        let mut hammers = JoinSet::new();
        for pod in &pods {
            hammers.spawn(hammer(Arc::clone(pod), Arc::clone(&race)));
        }
        for turn in 0..60 {
            let (kind, id, grant, revoke) = CHANGES[turn / 12];
            race.granted(turn / 12);
            house.write(grant).await;
            for pod in &pods {
                let decision = pod.decide("u", Action::Execute, kind, id).await;
                assert!(decision.allowed, "turn {turn}, lease {lease_ms} ms, {kind}: {decision}");
            }
            house.write(revoke).await;
            race.revoked();
            for pod in &pods {
                let decision = pod.decide("u", Action::Execute, kind, id).await;
                assert!(
                    !decision.allowed,
                    "turn {turn}, lease {lease_ms} ms, {kind}: {decision}"
                );
            }
            if turn % 12 == 11 {
                race.granted(turn / 12);
                house.write(grant).await;
            }
        }
        race.end();
        let mut judged = 0;
        while let Some(hammered) = hammers.join_next().await {
            judged += hammered.unwrap();
        }
        assert!(judged > 100, "only {judged} decisions raced a revocation");
    }
}

/// What the hammers know of the writer.
#[derive(Default)]
struct Race {
    /// Even while it is not known what is right; odd after a revocation was acknowledged.
    phase: AtomicU64,
    change: AtomicU64,
    is_over: AtomicBool,
}

impl Race {
    /// It is about to be granted, by this change.
    fn granted(&self, change: usize) {
        let phase = self.phase.load(Ordering::SeqCst);
        self.phase.store(phase + 2 - phase % 2, Ordering::SeqCst);
        self.change.store(change as u64, Ordering::SeqCst);
    }

    fn revoked(&self) {
        let phase = self.phase.load(Ordering::SeqCst);
        self.phase.store(phase + 1 - phase % 2, Ordering::SeqCst);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

/// Decides again and again; gives how often it was known what is right.
async fn hammer(pod: Arc<Pod>, race: Arc<Race>) -> usize {
    let mut judged = 0;
    while !race.is_over.load(Ordering::SeqCst) {
        let before = race.phase.load(Ordering::SeqCst);
        let (kind, id, ..) = CHANGES[race.change.load(Ordering::SeqCst) as usize];
        let decision = pod.decide("u", Action::Execute, kind, id).await;
        let is_known = before % 2 == 1 && race.phase.load(Ordering::SeqCst) == before;
        if is_known {
            judged += 1;
            assert!(!decision.allowed, "{kind} after its revocation: {decision}");
        }
        tokio::task::yield_now().await;
    }
    judged
}

/// P26. A decision is made in one state. The user, the groups and the grants that it rests on are those of one
/// position; where these are changed together, no decision mixes before and after.
#[tokio::test(flavor = "multi_thread")]
async fn no_decision_mixes_two_states() {
    let house = House::of(Application::OpenWebUi012, 5).await;
    house.write(OUTSET).await;
    // Never are membership and grant of one group, but each change moves both.
    let to_h = "BEGIN; UPDATE group_member SET group_id = 'g' WHERE user_id = 'u';
        UPDATE access_overlay SET access_control = '{\"read\": {\"group_ids\": [\"h\"]}}'; COMMIT";
    let to_g = "BEGIN; UPDATE group_member SET group_id = 'h' WHERE user_id = 'u';
        UPDATE access_overlay SET access_control = '{\"read\": {\"group_ids\": [\"g\"]}}'; COMMIT";
    house.write(to_h).await;
    let pod = Arc::new(house.pod().await);
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let (pod, is_over) = (Arc::clone(&pod), Arc::clone(&is_over));
        readers.spawn(async move {
            let mut torn = 0;
            while !is_over.load(Ordering::SeqCst) {
                let decision = pod.decide("u", Action::Execute, ResourceType::Function, "f").await;
                assert!(!decision.allowed, "{decision}");
                torn += usize::from(allowed_by_two_reads(&pod).await);
            }
            torn
        });
    }
    for turn in 0..150 {
        house.write(if turn % 2 == 0 { to_g } else { to_h }).await;
    }
    is_over.store(true, Ordering::SeqCst);
    let mut torn = 0;
    while let Some(reader) = readers.join_next().await {
        torn += reader.unwrap();
    }
    assert!(
        torn > 0,
        "two reads one after the other never differed, so this proves nothing"
    );
}

/// What a decision would be without the one position: each fact read by itself, with a little time between.
async fn allowed_by_two_reads(pod: &Pod) -> bool {
    let read = async |path: &str| {
        let read = pod.router.route(path).unwrap();
        let answer = pod.cache.read(&read, Level::FullyConsistent, deadline()).await.unwrap();
        answer.entry.body.clone()
    };
    let subject = Subject::parse(&read("/v1/views/access-subject/u").await).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    let facts = Facts::parse(&read("/v1/views/access-function/f").await).unwrap();
    let function = ResourceRef::new(ResourceType::Function, "f");
    decide(pod.decider.rules(), &subject, Action::Execute, &function, &facts).allowed
}
