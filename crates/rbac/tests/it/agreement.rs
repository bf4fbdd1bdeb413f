//! After every random write, each decision about each user and each resource is what the specification says.
//!
//! `NEVERSTALE_TEST_SEED` repeats a run (it is in the message of each failure), `NEVERSTALE_TEST_STATEMENTS` makes it longer.

use std::{collections::BTreeMap, env};

use fastrand::Rng;
use neverstale_cache::Level;
use neverstale_rbac::{Action, People, ResourceRef, ResourceType, Subject, Tier};
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
        survey(&pod, &mut dice, &told).await;
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

/// What a person is told of everybody at once is what is decided about each by himself.
async fn survey(pod: &Pod, dice: &mut Rng, told: &str) {
    let found = pod
        .survey
        .people(People::Like(""), None, 100, deadline())
        .await
        .unwrap();
    assert_eq!(found.roster.people().len(), found.roster.people_total, "{told}");
    for person in found.roster.people() {
        let read = format!("/v1/views/access-subject/{}", person.subject.id);
        let read = pod.router.route(&read).unwrap();
        let answer = pod.cache.read(&read, Level::FullyConsistent, deadline()).await.unwrap();
        assert_eq!(person.subject, Subject::parse(&answer.entry.body).unwrap(), "{told}");
        for group in &person.subject.groups {
            let way = found.roster.way(person, group);
            assert!(
                way.last() == Some(&&**group) && person.listed.iter().any(|listed| way[0] == listed),
                "{group}: {way:?}\n{told}"
            );
        }
    }
    let (kind, ids) = IDS[dice.usize(..IDS.len())];
    let resource = ResourceRef::new(kind.parse().unwrap(), ids[dice.usize(..ids.len())]);
    let verdicts = pod
        .survey
        .verdicts(People::Like(""), &Action::ALL, &resource, deadline())
        .await
        .unwrap();
    assert_eq!(verdicts.decisions.len(), found.roster.people().len());
    let questions = Action::ALL.map(|action| (action, resource.clone()));
    for (person, decisions) in verdicts.roster.people().iter().zip(&verdicts.decisions) {
        let user = &*person.subject.id;
        let decided = pod
            .decider
            .decide_many(user, &questions, Level::FullyConsistent, deadline())
            .await
            .unwrap();
        assert_eq!(*decisions, decided.decisions, "{user} {resource}\n{told}");
    }
    let user = USERS[dice.usize(..USERS.len())];
    let decided = pod
        .decider
        .decide_many(user, &questions, Level::FullyConsistent, deadline())
        .await
        .unwrap();
    let one = pod
        .survey
        .verdicts(People::Of(&[user]), &Action::ALL, &resource, deadline())
        .await
        .unwrap();
    assert_eq!(
        one.decisions,
        std::slice::from_ref(&decided.decisions),
        "{user} {resource}\n{told}"
    );
    let holdings = pod.survey.holdings(user, resource.kind, deadline()).await.unwrap();
    if let Some(held) = holdings.held.iter().find(|held| held.resource == resource) {
        assert_eq!(held.decisions[..], decided.decisions[..], "{user} {resource}\n{told}");
    }
}
