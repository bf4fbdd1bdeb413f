//! One seed from beginning to end: the world is made, lives for its span with all that goes wrong in it, is healed, and must
//! then answer every read.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use neverstale_cache::Level;
use neverstale_flavour::Flavour;
use neverstale_wire::KeyRing;
use ring::digest::{SHA256, digest};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep, timeout},
};

use crate::{
    chance::Chance,
    faults::Nemesis,
    judge::Judge,
    network::Link,
    plan::{Plan, Sealed},
    pod::{Place, Pod, Redis},
    postgres::{Person, Server},
    redis::Store,
    story::Story,
    workload::Scene,
};

/// A healed world answers every read within this time (docs/CONSISTENCY.md, P22).
const RECOVERY: Duration = Duration::from_secs(2);

/// Nothing in a healthy world takes so long.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// What became of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was promised and not kept.
    pub violations: Vec<String>,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// All events.
    pub story: String,
}

impl Outcome {
    /// The story as a number: the head of its SHA-256.
    pub fn digest(&self) -> u64 {
        let digest = digest(&SHA256, self.story.as_bytes());
        let head = digest.as_ref()[..8].iter();
        head.fold(0_u64, |head, byte| head << 8 | u64::from(*byte))
    }
}

/// Runs one seed on this thread.
pub fn run(seed: u64, flavour: &Arc<Flavour>) -> Outcome {
    neverstale_lifecycle::simulated::seed_chance(seed);
    let runtime = paused_runtime();
    let outcome = runtime.block_on(live(seed, Arc::clone(flavour)));
    runtime.shutdown_background();
    outcome
}

/// A runtime of this thread alone, whose time passes only while nothing else is to be done.
pub(crate) fn paused_runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without a driver for I/O needs nothing of the system")
}

async fn live(seed: u64, flavour: Arc<Flavour>) -> Outcome {
    let chance = Chance::new(seed);
    let plan = Arc::new(Plan::of(&chance));
    let story = Story::begin();
    story.tell("plan", format_args!("{plan:?}"));
    let temper = plan.temper(&chance);
    story.tell("plan", format_args!("{temper:?}"));
    let server = Server::start(
        Arc::clone(&flavour),
        persons(&plan, &chance),
        plan.lease_ms,
        temper,
        chance.fork(),
        story.clone(),
    );
    // A pod's clock and the judge's may go apart by what both are steered.
    let bound_ms = plan.bound_ms * 110 / 100 + 2;
    let scene = Scene {
        judge: Judge::new(server.clone(), story.clone(), bound_ms),
        plan: Arc::clone(&plan),
        server,
        story,
        is_over: Arc::new(AtomicBool::new(false)),
        is_quiet: Arc::default(),
        writing: Arc::new(AtomicUsize::new(0)),
        tokens: Arc::default(),
    };
    let nemesis = stage(&scene, &flavour, &chance);
    let faults = tokio::spawn(nemesis.clone().run());
    sleep(Duration::from_millis(plan.span_ms)).await;
    scene.is_over.store(true, Ordering::Relaxed);
    scene.story.tell("plan", "it is over; everything is put right");
    let recovered = timeout(HANGS_AFTER, async {
        let _ = faults.await;
        recover(&scene, &nemesis).await;
    });
    if recovered.await.is_err() {
        scene.judge.violation("nothing goes on any more");
    }
    let (violations, counts) = scene.judge.found();
    Outcome {
        seed,
        violations,
        counts,
        story: scene.story.text(),
    }
}

/// Rows as they are at first; a place is left free now and then.
fn persons(plan: &Plan, chance: &Chance) -> BTreeMap<String, Person> {
    let person = |number: usize| {
        let team = format!("t{}", chance.among(1..=plan.teams as u64));
        (format!("p{number}"), Person { version: 0, team })
    };
    (1..=plan.persons).filter(|_| chance.percent(90)).map(person).collect()
}

fn stage(scene: &Scene, flavour: &Arc<Flavour>, chance: &Chance) -> Nemesis {
    let plan = &scene.plan;
    let link = || Link::new(plan.delay_ms.clone(), chance.fork());
    let store = Store::new(plan.lossy_percent, chance.fork(), scene.story.clone());
    let redis = |sealed| Redis {
        store: store.clone(),
        link: link(),
        keys: (sealed == Sealed::Yes).then(|| KeyRing::parse(&"5a".repeat(32)).expect("a key of 32 bytes")),
    };
    let place = |name| Place {
        name,
        postgres: link(),
        redis: plan.redis.map(redis),
        clock_ppm: plan.steer_both(chance),
    };
    let places: Vec<Place> = ["pod1", "pod2", "pod3"]
        .into_iter()
        .take(plan.pods)
        .map(place)
        .collect();
    let writers: Vec<Link> = (0..plan.writers).map(|_| link()).collect();
    let nemesis = Nemesis {
        scene: scene.clone(),
        places,
        pods: Arc::new(Mutex::new(Vec::new())),
        writers: writers.clone(),
        flavour: Arc::clone(flavour),
        chance: chance.fork(),
    };
    let pods = (0..plan.pods).map(|at| nemesis.start(at)).collect();
    *nemesis.pods.lock().expect("nobody panics while starting") = pods;
    for (name, link) in ["writer1", "writer2", "writer3"].into_iter().zip(writers) {
        tokio::spawn(scene.clone().write(name, link, chance.fork()));
    }
    nemesis
}

/// Heals what is still broken, and has every pod answer every question.
async fn recover(scene: &Scene, nemesis: &Nemesis) {
    for (at, place) in nemesis.places.iter().enumerate() {
        place.postgres.heal();
        place.postgres.slow(scene.plan.delay_ms.clone());
        if let Some(redis) = &place.redis {
            redis.link.heal();
        }
        nemesis.pods.lock().expect("nobody panics while starting")[at]
            .tasks
            .gate()
            .open();
    }
    let pods = nemesis.pods.lock().expect("nobody panics while starting").clone();
    let each = pods
        .iter()
        .zip(&nemesis.places)
        .map(|(pod, place)| answers_again(scene, pod, place.name));
    join_all(each).await;
}

/// Has one pod answer every question, each in time.
async fn answers_again(scene: &Scene, pod: &Pod, name: &str) {
    for number in 1..=scene.plan.persons {
        let path = format!("/v1/users/p{number}");
        let deadline = Instant::now() + RECOVERY;
        while let Err(error) = scene.read_one(name, pod, &path, Level::FullyConsistent, deadline).await {
            if Instant::now() >= deadline {
                let text = format!("{name} does not answer {path} in time again: {error}");
                scene.judge.violation(&text);
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}
