//! After every random write, each decision about each user and each resource is what the specification says.
//!
//! `NEVERSTALE_TEST_SEED` repeats a run (it is in the message of each failure), `NEVERSTALE_TEST_STATEMENTS` makes it longer.

use std::{collections::BTreeMap, env};

use fastrand::Rng;
use neverstale_cache::Level;
use neverstale_rbac::{Action, ResourceRef, ResourceType, Tier};
use neverstale_testkit::Application;

use crate::{
    house::{House, Pod, deadline},
    specification::Specification,
    world::{self, IDS, USERS},
};

#[tokio::test(flavor = "multi_thread")]
async fn open_webui_012_is_decided_as_specified() {
    compare(Application::OpenWebUi012).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_webui_06_is_decided_as_specified() {
    compare(Application::OpenWebUi06).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn naga_is_decided_as_specified() {
    compare(Application::Naga0518).await;
}

fn number(name: &str, default: u64) -> u64 {
    let text = env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

async fn compare(application: Application) {
    let flavour = application.name();
    let seed = number("NEVERSTALE_TEST_SEED", 20_261);
    let mut dice = Rng::with_seed(seed);
    let house = House::of(application, 5).await;
    world::fill(&house.admin, flavour, &mut dice).await;
    let pod = house.pod().await;
    let mut seen: BTreeMap<Option<Tier>, usize> = BTreeMap::new();
    let mut last = "nothing".to_owned();
    for _ in 0..number("NEVERSTALE_TEST_STATEMENTS", 60) {
        let rows = world::standing(&house.admin, flavour).await;
        let specification = Specification { flavour, rows: &rows };
        let told = format!("{flavour}, NEVERSTALE_TEST_SEED={seed}, after {last}\n{rows:?}");
        judge(&pod, &specification, &told, &mut seen).await;
        last = world::change(flavour, &mut dice);
        house.write(&last).await;
    }
    // A comparison in which nobody was ever allowed by some tier would prove nothing of it.
    for tier in [Tier::SuperAdmin, Tier::Owner, Tier::Direct, Tier::Group, Tier::Admin] {
        assert!(
            seen.get(&Some(tier)).is_some_and(|count| *count > 20),
            "{flavour}: {seen:?}"
        );
    }
}

async fn judge(pod: &Pod, specification: &Specification<'_>, told: &str, seen: &mut BTreeMap<Option<Tier>, usize>) {
    let kinds = || ResourceType::ALL.into_iter();
    let ids_of = |kind: ResourceType| IDS.iter().find(|(name, _)| *name == kind.name()).expect("a type").1;
    let mut questions = Vec::new();
    for kind in kinds() {
        for id in ids_of(kind) {
            questions.extend(Action::ALL.map(|action| (action, ResourceRef::new(kind, *id))));
        }
    }
    for user in USERS {
        let decided = pod
            .decider
            .decide_many(user, &questions, Level::FullyConsistent, deadline())
            .await
            .unwrap();
        for ((action, resource), decision) in questions.iter().zip(&decided.decisions) {
            let right = specification.tier(user, *action, resource.kind, &resource.id);
            assert_eq!(
                (decision.allowed, decision.tier),
                (right.is_some(), right),
                "{user} {action} {resource}: {decision}\n{told}"
            );
            assert_eq!(decision.allowed, decision.looked_for.is_none());
            *seen.entry(right).or_default() += 1;
        }
        for kind in kinds() {
            for action in [Action::Read, Action::Execute] {
                let visible = pod
                    .decider
                    .visible(user, action, kind, Level::FullyConsistent, deadline())
                    .await
                    .unwrap();
                let of_rows =
                    |id: &&&str| specification.exists(kind, id) && specification.tier(user, action, kind, id).is_some();
                let mut right: Vec<&str> = ids_of(kind).iter().filter(of_rows).copied().collect();
                right.sort_unstable();
                let given: Vec<&str> = visible
                    .ids
                    .iter()
                    .map(String::as_str)
                    .filter(|id| ids_of(kind).contains(id))
                    .collect();
                assert_eq!(given, right, "{user} {action} {kind}\n{told}");
            }
        }
    }
}
